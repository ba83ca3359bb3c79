"""Any embeddings -> measurements -> findings -> verdict."""
