"""How fast camaudit is beside its peers: `python -m tests.benchmarks` prints a table of ratios."""
