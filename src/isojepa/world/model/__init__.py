"""Frames and actions -> embeddings of the future."""
