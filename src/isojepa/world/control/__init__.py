"""A world model, a planner and goals -> actions, and how often they succeed."""
