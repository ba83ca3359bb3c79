"""Frames and actions in, control out."""
