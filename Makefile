PYTHON ?= python3
VENV := .venv/bin
BENCH := .venv-bench/bin
# Processes that the tests share, a file at a time; 0 for none but pytest's.
WORKERS ?= 2
PYTEST := $(VENV)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: demo test test-slow lint bench clean

demo: .venv/ready
	$(VENV)/python -m bin.run_ifa --workdir=runs/demo

test: .venv/ready
	$(PYTEST) -m "not slow and not realdata"

test-slow: .venv/ready
	$(PYTEST) -m "slow or realdata"

lint: .venv/ready
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .

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
