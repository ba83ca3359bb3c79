"""A world-model run -> one self-contained page."""
