"""Run folders in, one self-contained page each out."""
