# Thin by design: each line calls one tool.
PYTHON ?= python3
VENV := .venv/bin/

.PHONY: venv demo test test-full lint bench

venv:
	@$(PYTHON) scripts/bootstrap.py

demo: venv
	@$(VENV)python -m thalweg_benchmarks.demo

test: venv
	@$(VENV)python -m pytest -q -n auto --dist loadfile -m "not full"

test-full: venv
	@$(VENV)python -m pytest -q -n auto --dist loadfile

lint: venv
	@$(VENV)ruff check .
	@$(VENV)ruff format --check .
	@$(VENV)pyright

bench: venv
	@$(VENV)python -m pip install --quiet -e "benchmarks[all-peers]"
	@$(VENV)python -m thalweg_benchmarks.peers --output docs/reports/peers.md
	@$(VENV)python -m thalweg_benchmarks.dynamic --output docs/reports/dynamic-shapes.md
	@$(VENV)python -m thalweg_benchmarks.call_overhead
