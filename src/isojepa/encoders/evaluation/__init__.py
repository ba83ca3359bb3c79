"""A frozen encoder -> scores, beside those of its baselines."""
