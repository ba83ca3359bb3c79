"""Runs -> which of them to take, without labels."""
