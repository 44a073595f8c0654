"""Which shape stands in a picture: a network, and maps that say where it looked."""
