PYTHON ?= python3
VENV := .venv/bin

.PHONY: demo test test-slow lint clean

demo: .venv/ready
	$(VENV)/python -m bin.run_ifa --workdir=runs/demo

test: .venv/ready
	$(VENV)/python -m pytest -m "not slow and not realdata"

test-slow: .venv/ready
	$(VENV)/python -m pytest -m "slow or realdata"

lint: .venv/ready
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .

.venv/ready: requirements.txt
	$(PYTHON) -m venv .venv
	$(VENV)/python -m pip install --quiet --disable-pip-version-check \
		-r requirements.txt
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
