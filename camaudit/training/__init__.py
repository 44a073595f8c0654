"""Training wall models: data sources, networks, the recipe, the loop, and what comes out of it."""
