"""Metrics over saliency maps; they know of no method and no model."""
