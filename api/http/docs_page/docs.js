"use strict";
(async () => {
  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  const main = document.getElementById("main");
  const index = document.getElementById("index");
  let api;
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error("status " + answer.status);
    api = await answer.json();
  } catch (error) {
    document.getElementById("loading").textContent = "The document could not be loaded: " + error.message;
    return;
  }
  const resolve = (schema) => {
    const name = schema && schema.$ref ? schema.$ref.split("/").pop() : null;
    return name ? api.components.schemas[name] : schema || {};
  };
  const typeOf = (schema) => {
    if (!schema) return "any";
    if (schema.$ref) return resolve(schema).title || schema.$ref.split("/").pop();
    if (schema.const !== undefined) return JSON.stringify(schema.const);
    if (schema.enum) return schema.enum.length > 8 ? "one of " + schema.enum.length : schema.enum.join(" | ");
    const options = schema.anyOf || schema.oneOf;
    if (options) return options.map(typeOf).join(" | ");
    if (schema.type === "array") return "list of " + typeOf(schema.items);
    return schema.format || schema.type || "any";
  };
  const fields = (schema) => {
    const found = resolve(schema);
    if (!found.properties) return null;
    const table = make("table", {}, make("tr", {}, make("th", {}, "field"), make("th", {}, "type"), make("th", {}, "")));
    for (const [name, field] of Object.entries(found.properties)) {
      const required = (found.required || []).includes(name);
      const about = field.description || (field.$ref ? resolve(field).description : "") || "";
      table.append(make("tr", {}, make("td", {}, make("code", {}, name), required ? "" : make("span", { class: "quiet" }, " optional")), make("td", {}, typeOf(field)), make("td", {}, ...prose(about))));
    }
    return table;
  };
  const json = (value) => make("pre", {}, make("code", {}, JSON.stringify(value, null, 2)));
  const curl = (method, path, operation) => {
    const lines = ["curl " + (method === "get" ? "" : "-X " + method.toUpperCase() + " ") + location.origin + path];
    if (!operation.security) lines.push('-H "Authorization: Bearer $TALLYBOOK_KEY"');
    if (method !== "get") lines.push('-H "Idempotency-Key: $(uuidgen)"');
    if (operation.requestBody) {
      lines.push('-H "Content-Type: application/json"');
      lines.push("-d '" + JSON.stringify(operation.requestBody.content["application/json"].example) + "'");
    }
    return make("pre", {}, make("code", {}, lines.join(" \\\n  ")));
  };
  // Text with `code` in it.
  const prose = (text) => text.split("`").map((part, place) => (place % 2 ? make("code", {}, part) : part));
  const paragraphs = (text) => text.split("\n\n").map((part) => make("p", {}, ...prose(part)));
  main.replaceChildren(make("h1", {}, api.info.title + " API " + api.info.version), ...paragraphs(api.info.description),
    make("p", {}, make("a", { href: "/openapi.json" }, "OpenAPI"), " · ", make("a", { href: "/asyncapi.json" }, "AsyncAPI"), " · ", make("a", { href: "/problems" }, "Problems")));
  const entries = [];
  for (const tag of api.tags) {
    const heading = make("h2", {}, tag.name);
    index.append(heading);
    const section = make("section", {}, make("h2", {}, tag.name), make("p", { class: "quiet" }, ...prose(tag.description)));
    main.append(section);
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (!operation.tags.includes(tag.name)) continue;
        const link = make("a", { href: "#" + operation.operationId }, ...prose(operation.summary));
        index.append(link);
        const article = make("article", { id: operation.operationId }, make("h3", {}, ...prose(operation.summary)),
          make("div", { class: "route" }, make("span", { class: "method" }, method.toUpperCase()), path));
        if (operation.description) article.append(...paragraphs(operation.description));
        article.append(curl(method, path, operation));
        if (operation.parameters.length) {
          const table = make("table", {});
          for (const parameter of operation.parameters) {
            table.append(make("tr", {}, make("td", {}, make("code", {}, parameter.name), parameter.required ? "" : make("span", { class: "quiet" }, " optional")), make("td", {}, parameter.in + ", " + typeOf(parameter.schema)), make("td", {}, ...prose(parameter.description || ""))));
          }
          article.append(make("details", {}, make("summary", {}, "Parameters and headers"), table));
        }
        if (operation.requestBody) {
          const table = fields(operation.requestBody.content["application/json"].schema);
          if (table) article.append(make("h4", {}, "Body"), table);
        }
        const problems = make("table", {});
        for (const [status, given] of Object.entries(operation.responses)) {
          const response = given.$ref ? api.components.responses[given.$ref.split("/").pop()] : given;
          const content = Object.values(response.content)[0];
          if (status.startsWith("2")) {
            article.append(make("h4", {}, "Answer " + status), json(content.example));
            const table = fields(content.schema);
            if (table) article.append(make("details", {}, make("summary", {}, "Fields of the answer"), table));
          } else {
            problems.append(make("tr", {}, make("td", {}, status), make("td", {}, ...prose(response.description.replaceAll("- ", "")))));
          }
        }
        article.append(make("details", {}, make("summary", {}, "Problems"), problems));
        section.append(article);
        entries.push({ link, article, words: (operation.summary + " " + path + " " + method).toLowerCase() });
      }
    }
  }
  document.getElementById("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase().trim();
    for (const entry of entries) {
      entry.link.hidden = entry.article.hidden = !entry.words.includes(wanted);
    }
  });
  if (location.hash) document.querySelector(location.hash)?.scrollIntoView();
})();
