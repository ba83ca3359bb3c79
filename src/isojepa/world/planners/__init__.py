"""Costs of candidate actions -> the cheapest actions found."""
