"""A world model and a goal image -> actions."""
