"""Batches -> updates: devices, the loop, signals, records. Knows neither images nor worlds."""
