"""Policies acting in environments -> episodes on disk."""
