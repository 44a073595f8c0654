"""Metrics of many methods on one model: shared passes, values, comparisons and protocols."""
