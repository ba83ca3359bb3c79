"""Series: samples of one or several channels over time."""
