"""Reports written from records alone: HTML page, terminal table, results file.

Nothing here imports torch; a report can be rebuilt from a results file on any machine.
"""
