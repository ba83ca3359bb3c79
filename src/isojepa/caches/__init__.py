"""What was decoded stays on the disk from run to run: where, how much, and what goes first."""
