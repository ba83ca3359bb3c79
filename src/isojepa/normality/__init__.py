"""Samples in, statistic out: pure functions of tensors, nothing else imported."""
