# Two commands are all a newcomer needs: `make run` and `make test`.
# Each sets up .venv from requirements.lock first; doing it again takes a moment.

PYTHON ?= python3.11
DATA ?=
BIN := .venv/bin
READY := .venv/.ready
# Airflow configures the logging of its whole process, so its tests have a process of their own.
AIRFLOW_TESTS := tests/learnloop/airflow tests/dags
report = $(if $(REPORTS),--junitxml $(REPORTS)/$(1).xml)
export PYTHONPATH := $(CURDIR)
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: run test test-slow check bench bench-events bench-features bench-serving airflow loop lock format docs clean help

help:  ## Show these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): requirements.lock setup.py scripts/setup
	@PYTHON=$(PYTHON) scripts/setup
	@touch $@

run: $(READY)  ## Run both pipelines end to end (DATA=folder for real data)
	@$(BIN)/python -m pipelines $(if $(DATA),--data $(DATA))

test: $(READY)  ## Run the tests (REPORTS=folder for JUnit reports)
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(AIRFLOW_TESTS:%=--ignore %) $(call report,tests)
	@$(BIN)/python -m pytest $(AIRFLOW_TESTS) $(call report,airflow)

test-slow: $(READY)  ## Run the long checks
	@$(BIN)/python -m pytest -m slow --timeout 7200 $(AIRFLOW_TESTS:%=--ignore %)
	@$(BIN)/python -m pytest -m slow --timeout 7200 $(AIRFLOW_TESTS)

check: $(READY)  ## Format, lint, types, import contracts, generated docs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m learnloop.catalogue | diff - docs/components.md \
		|| { echo "docs/components.md is not what the code says: make docs"; exit 1; }

docs: $(READY)  ## Write the component catalogue and Grafana's dashboards
	@$(BIN)/python -m learnloop.catalogue > docs/components.md
	@$(BIN)/python -m monitoring.grafana

format: $(READY)  ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(READY)  ## Measure speed beside hand-written code
	@$(BIN)/python -m benchmarks

bench-serving: $(READY)  ## Measure the embedded server beside others (SERVING_PEERS_PYTHON=)
	@$(BIN)/python -m benchmarks.serving

bench-events: $(READY)  ## Measure the collector of learner events
	@$(BIN)/python -m benchmarks.events

bench-features: $(READY)  ## Measure the feature store beside pandas (and Feast: FEAST_PYTHON=)
	@$(BIN)/python -m benchmarks.features
	@$(BIN)/python -m benchmarks.features.online

loop: $(READY)  ## Go round the loop once: drift, request, run, new version (AIRFLOW=1)
	@PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m pipelines.loop $(if $(AIRFLOW),--airflow)

airflow: $(READY)  ## Start Airflow on loopback
	@PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m learnloop.airflow.server

lock:  ## Resolve requirements.in into requirements.lock
	@uv pip compile -q --python-version 3.11 --no-header --no-annotate requirements.in -o requirements.lock

clean:  ## Remove the environment and local state
	rm -rf .venv .learnloop models
