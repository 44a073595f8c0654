"""Fuzzers: real files are changed at random, and whatever reads them must succeed or say why not.

`python -m tests.fuzz --minutes 30` runs all, with `--only images` one; see :mod:`tests.fuzz.run`.
"""
