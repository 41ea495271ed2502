# pathfleet: `make demo` shows it, `make test` proves it, `make bench` measures it. Needs python3-venv, make and git.

UV := $(shell command -v uv || echo .uv/bin/uv)
RUN := .venv/bin/
PYTEST_WORKERS ?= auto
FUZZ_EXAMPLES ?= 20000
FAULT_SECONDS ?= 240

.PHONY: demo test test-cluster lint check fuzz fault bench dist clean help

help:
	@echo "make demo            a simulated cluster with real agents, in a minute"
	@echo "make test            set up, lint, type check, import rules, all tests (VM with a real kernel included)"
	@echo "make test-cluster    a cluster of VMs on a SAN with two fabrics: minutes; not part of make test"
	@echo "make lint            formatting, lint, types and import rules only"
	@echo "make check           the tests without the VM"
	@echo "make fuzz            the parsers of files and formats against what nobody foresaw, for longer than the tests do"
	@echo "make fault           agents killed at random for minutes, while the SAN breaks and mends"
	@echo "make bench           the figures of docs/benchmarks.md"
	@echo "make dist            wheel and sdist into dist/"

# The page is built with the package, from all of this.
PAGE := $(shell find ui tools/build_ui.py -type f -not -path 'ui/node_modules/*' -not -name schema.d.ts)

.venv/ready: pyproject.toml uv.lock $(PAGE) | $(UV)
	$(UV) sync --frozen --quiet
	@touch $@

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.*

demo: .venv/ready
	$(RUN)pathfleet demo

lint: .venv/ready
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy
	$(RUN)lint-imports --no-cache

test: lint
	tools/system_deps
	$(RUN)pytest -n $(PYTEST_WORKERS) --dist loadgroup

test-cluster: .venv/ready
	tools/system_deps
	PATHFLEET_VM_CLUSTER=1 $(RUN)pytest -s tests/vm_cluster

check: .venv/ready
	$(RUN)pytest -n $(PYTEST_WORKERS) --dist loadgroup --ignore tests/vm

fuzz: .venv/ready
	PATHFLEET_FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(RUN)pytest -n $(PYTEST_WORKERS) tests/fuzz

fault: .venv/ready
	PATHFLEET_FAULT_SECONDS=$(FAULT_SECONDS) $(RUN)pytest -s tests/fault/test_nothing_lost.py

bench: .venv/ready
	tools/system_deps
	$(RUN)python -m bench

dist: | $(UV)
	$(UV) build

clean:
	rm -rf .venv dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
