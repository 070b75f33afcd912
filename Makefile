.DEFAULT_GOAL := help
.PHONY: help setup run test lint screenshots prices bench torture demo clean lock developer-setup packages

PYTHON3 ?= python3
PYTHON := .venv/bin/python
INSTALL := $(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r
LOCK := --quiet --generate-hashes --universal --no-header
TEST := $(PYTHON) -m pytest --numprocesses auto
TORTURE := $(if $(TRIALS),--trials $(TRIALS)) $(if $(SEED),--seed $(SEED)) $(if $(SCENE),--scene "$(SCENE)")
OFFLINE := { echo "Not installed. Is the package index reachable? See above, then run make again."; exit 1; }

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

setup: .venv/installed ## the packages of requirements.txt in .venv; the others do it first

run: setup ## web, two workers and the sandbox, here; make run PORT=8000 SANDBOX_PORT=8765
	@$(PYTHON) -m config.start $(if $(PORT),--port $(PORT)) $(if $(SANDBOX_PORT),--sandbox-port $(SANDBOX_PORT))

# PostgreSQL first, so that the last line of the other run names all that was not tested.
test: developer-setup packages ## all tests on SQLite, and what depends on the database on PostgreSQL
	@$(PYTHON) -m tests.postgres $(TEST) -m both_databases; on_postgres=$$?; \
	$(TEST) && exit $$on_postgres

lint: developer-setup ## style, types, migrations, Django's own checks
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy .
	$(PYTHON) manage.py makemigrations --check --dry-run
	$(PYTHON) manage.py check

screenshots: developer-setup packages ## every page in each of its states, into screenshots/index.html
	@$(PYTHON) -m tests.screenshots

prices: developer-setup ## claude_api/prices.json anew, from the package genai-prices
	@$(PYTHON) -m config.prices

bench: developer-setup ## measurements, side by side, into benchmarks/report.json
	@$(PYTHON) -m benchmarks

torture: developer-setup ## workers killed, paused and lied to; make torture TRIALS=200 SEED=1 SCENE=submit
	@$(PYTHON) -m tests.torture $(TORTURE); on_sqlite=$$?; \
	$(PYTHON) -m tests.postgres $(PYTHON) -m tests.torture --no-bugs $(TORTURE) && exit $$on_sqlite

demo: setup ## the example through run_batch, against a sandbox of its own
	@$(PYTHON) -m config.demo

clean: ## remove what can be made again; data/ stays
	rm -rf .venv staticfiles .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

lock: ## pin what pyproject.toml asks for, with uv; make lock UPGRADE=--upgrade for the newest
	uv pip compile pyproject.toml $(UPGRADE) --extra sandbox --extra postgres --extra redis $(LOCK) -o requirements.txt
	uv pip compile pyproject.toml $(UPGRADE) --all-extras --group dev -c requirements.txt $(LOCK) \
	-o requirements-dev.txt

developer-setup: .venv/installed-for-developers

packages:
	@if [ "$$CI" = true ] && [ "$$(id -u)" = 0 ]; then sh .ci/packages; fi

.venv/installed: requirements.txt
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Sluice needs Python 3.11 or newer. On Debian: apt install python3"; exit 1; }
	@$(PYTHON3) -c 'import ensurepip, venv' 2> /dev/null || \
	{ echo "Python cannot make a virtual environment. On Debian: apt install python3-venv"; exit 1; }
	@$(PYTHON3) -c 'import sys; print("python %d.%d ✓" % sys.version_info[:2])'
	@test -x $(PYTHON) || $(PYTHON3) -m venv .venv
	@echo "installing (the first time, about 40 s)"
	@$(INSTALL) requirements.txt || $(OFFLINE)
	@touch $@

.venv/installed-for-developers: requirements-dev.txt .venv/installed
	@echo "installing what tests and checks need"
	@$(INSTALL) requirements-dev.txt || $(OFFLINE)
	@touch $@
