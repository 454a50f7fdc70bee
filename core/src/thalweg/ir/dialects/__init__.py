"""Thalweg's own dialects: ``tw`` (what linalg lacks), ``flow``, ``stream``, ``hal``, ``vm``."""
