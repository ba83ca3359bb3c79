"""Measurement -> findings in plain words, each with its level, its state and a remedy."""
