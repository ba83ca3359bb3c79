"""Unlabelled data -> encoder -> scores."""
