PYTHON ?= python3
VENV := .venv/bin
BENCH := .venv-bench/bin
# Processes that the tests share, a file at a time; 0 for none but pytest's.
WORKERS ?= 2
PYTEST := $(VENV)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: demo test test-slow test-exhaustive lint report bench clean

demo: .venv/ready
	$(VENV)/python -m bin.run_ifa --workdir=runs/demo

test: .venv/ready
	$(PYTEST) -m "not slow and not realdata and not exhaustive"

test-slow: .venv/ready
	$(PYTEST) -m "(slow or realdata) and not exhaustive"

test-exhaustive: .venv/ready
	$(PYTEST) -m exhaustive

lint: .venv/ready
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .

report: .venv/ready
	$(VENV)/python -m bin.report docs/results/cpu --output=runs/report

bench: .venv-bench/ready
	$(BENCH)/python -m benchmarks.attacks \
		--csv=docs/results/benchmark-attacks.csv \
		--figure=docs/benchmark-attacks.png

.venv/ready: requirements.txt
	$(PYTHON) -m venv .venv
	$(VENV)/python -m pip install --quiet --disable-pip-version-check \
		-r requirements.txt
	touch $@

.venv-bench/ready: requirements.txt benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	$(BENCH)/python -m pip install --quiet --disable-pip-version-check \
		-r requirements.txt -r benchmarks/requirements.txt
	touch $@

clean:
	rm -rf .venv .venv-bench build dist *.egg-info
