"""Gates: a policy, a run's records, and whether explanations may ship. Nothing here loads torch."""
