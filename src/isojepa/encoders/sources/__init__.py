"""What a user points at -> files, labels, and which of them are held out."""
