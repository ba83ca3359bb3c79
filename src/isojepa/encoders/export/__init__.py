"""A trained encoder -> a folder that other programs load, and the proof that they agree."""
