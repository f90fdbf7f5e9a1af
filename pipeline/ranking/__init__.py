"""Rankings, for every stage: BM25, runs, metrics and significance tests."""
