"""Measurements and the models they run on: programs, not tests. Uses Thalweg as any user would."""
