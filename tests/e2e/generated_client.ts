// Creates, lists and reads with the types that openapi-typescript makes of the document. Arguments: address, API key.
import type { components, paths } from "./tallybook.js";

declare const process: { argv: string[] };

type NewCustomer = paths["/v1/customers"]["post"]["requestBody"]["content"]["application/json"];
type Customer = components["schemas"]["CustomerResource"];
type CustomerList = components["schemas"]["CustomerList"];

const [, , address, key] = process.argv;
const authorization = { Authorization: `Bearer ${key}` };

async function answered<Answer>(response: Response): Promise<Answer> {
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as Answer;
}

const body: NewCustomer = { name: "Grace", currency: "EUR", external_id: "typescript" };
const created = await fetch(`${address}/v1/customers`, {
  method: "POST",
  headers: { ...authorization, "Content-Type": "application/json", "Idempotency-Key": "typescript" },
  body: JSON.stringify(body),
});
const fresh = { ...authorization, "Min-Ledger-Position": created.headers.get("Ledger-Position") ?? "0" };
const made = await answered<Customer>(created);
const list = await answered<CustomerList>(
  await fetch(`${address}/v1/customers?external_id=typescript`, { headers: fresh }),
);
const read = await answered<Customer>(await fetch(`${address}/v1/customers/${made.id}`, { headers: fresh }));
console.log(JSON.stringify({ made: made.id, listed: list.data.map((each) => each.id), read: read.id }));
