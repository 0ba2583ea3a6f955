"""The invariants of docs/ARCHITECTURE.md, checked on live data: I1 to I5, I7 to I9 and I11. `audit` runs them
all, and each comes to a `Checked`.
"""
