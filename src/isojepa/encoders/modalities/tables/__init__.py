"""Tables: a row a sample, of numbers and of categories."""
