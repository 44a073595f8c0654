"""Click commands in modules of their own: options to calls, no logic."""
