"""Embeddings -> the page, and the lines on the screen, of their diagnosis."""
