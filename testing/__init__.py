"""What tests and benchmarks share: servers, whole cells, specifications, examples, histories and naive oracles."""
