"""Thalweg's own dialects: ``tw`` (structured ops that linalg lacks), ``flow``, ``stream``, ``hal``, ``vm``."""
