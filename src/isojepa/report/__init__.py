"""Scores, embeddings and curves -> findings -> one self-contained page."""
