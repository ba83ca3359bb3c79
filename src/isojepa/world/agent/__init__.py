"""Representation, reward, value and policy that learn together while acting."""
