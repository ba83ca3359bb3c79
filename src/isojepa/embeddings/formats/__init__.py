"""Formats of files of embeddings: each becomes `Samples`."""
