"""LeWM and its baselines, trained on the same data and played on the same goals."""
