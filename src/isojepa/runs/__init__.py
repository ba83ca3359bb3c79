"""A run is a folder: its one writer, its one reader, its checkpoints and its settings."""
