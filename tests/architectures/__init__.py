"""Published architectures in miniature, written out with random weights."""
