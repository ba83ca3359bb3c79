"""Image files of any depth, orientation and mode -> squares of bytes."""
