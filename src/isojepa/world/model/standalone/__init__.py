"""A program that exported world models bring along: it imports nothing of this package."""
