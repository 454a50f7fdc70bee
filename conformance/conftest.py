"""The suite's own tests are in ``tests``; the rules in ``src`` run by ``thalweg-conformance run`` only."""

collect_ignore = ["src"]
