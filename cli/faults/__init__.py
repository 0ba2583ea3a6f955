"""`tallybook faults`: load through the API while parts are killed and frozen; then the invariants must hold."""
