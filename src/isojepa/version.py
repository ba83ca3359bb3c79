"""The version, where every room may import it. pyproject.toml reads it from here."""

__version__ = "0.1.0"
