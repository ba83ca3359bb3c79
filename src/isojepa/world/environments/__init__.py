"""Environments to collect episodes in, and to act in."""
