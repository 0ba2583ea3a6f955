"""The invariants of docs/ARCHITECTURE.md, checked on live data: I1 to I5 and I7. Each is an async function that
returns a `Checked`; `audit` runs them all.
"""
