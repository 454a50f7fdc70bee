"""How a plugin is described, found and checked. Imports nothing of thalweg but ``errors``."""
