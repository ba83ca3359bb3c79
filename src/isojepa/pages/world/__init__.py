"""A world model's run -> its report."""
