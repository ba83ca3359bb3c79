"""Disk in, batches of views out."""
