"""Models by name: specs to networks, weights files to state dicts."""
