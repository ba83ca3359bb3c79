"""Layouts of episodes on disk: one file each, and what they have in common."""
