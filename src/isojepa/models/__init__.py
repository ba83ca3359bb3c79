"""Batches of images in, embeddings out."""
