"""All that differs between kinds of data: how they are read, viewed and embedded."""
