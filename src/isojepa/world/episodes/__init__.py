"""Data sets of episodes -> clips of frames and actions."""
