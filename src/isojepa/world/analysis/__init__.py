"""A trained world model -> what it knows, expects and imagines."""
