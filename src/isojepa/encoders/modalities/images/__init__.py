"""Images: files in, batches of views out, and the network that reads them."""
