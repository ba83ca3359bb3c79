"""Episodes -> a trained world model."""
