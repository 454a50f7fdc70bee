"""The rules of the HAL, one test for each, in one file for each area (its name is the file's ``AREA``).

A test asks for a capability, never for a driver's name. Its docstring states the rule. It works on the
device through ``thalweg_conformance.bench.Bench``; its messages say what was asked, what came and what
should have come.
"""
