# Everything a newcomer needs: `make run` and `make test`. The other targets are for those who work on it.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help run reset test test-fast check bench explore crash simulate chaos fuzz docs messages prose picture clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

$(READY): pyproject.toml scripts/setup
	scripts/setup $(VENV)
	@touch $@

run: $(READY)  ## the agent on the example requests, against the built-in sandbox; Ctrl-C ends it
	$(BIN)/assure-agent run --sandbox

reset: $(READY)  ## begin the demo anew: the next `make run` shows it again
	$(BIN)/assure-agent sandbox reset

test: $(READY)  ## all tests; what cannot run here is named with the reason
	scripts/setup-system
	$(BIN)/pytest -n 3 --dist worksteal  # for two cores: half of its time it waits for other processes

test-fast: $(READY)  ## the tests for daily work, in two minutes: core, client, source, store, pages, documents
	$(BIN)/pytest -n 3 --dist worksteal -m "not slow"

check: $(READY)  ## style, types, layers, and that the documents tell the truth
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest tests/docs

bench: $(READY)  ## what it costs, beside bare loops in the same run; SECTIONS="waiting store" LONG=1 ROUNDS=5
	$(BIN)/python -m bench $(SECTIONS) $(if $(LONG),--long) $(if $(ROUNDS),--rounds $(ROUNDS))

# Proofs (docs/proof.md). Short by themselves; `make simulate SEED=7 LONG=1 JOBS=2` is the long form from another seed.
PROVE = $(BIN)/python -m proof $@ --seed $(or $(SEED),1) --jobs $(or $(JOBS),1) $(if $(LONG),--long) $(if $(MUTATE),--mutate $(MUTATE))

explore: $(READY)  ## prove: the pure machine, every history with so many adversities
	$(PROVE)

crash: $(READY)  ## prove: killed at every boundary of recorded scenarios, resumed, compared
	$(PROVE)

simulate: $(READY)  ## prove: whole lives under a virtual clock, with trouble and kills; SEEDS=100 lives
	$(PROVE) $(if $(SEEDS),--count $(SEEDS))

chaos: $(READY)  ## prove: the installed command, kill -9 at random moments
	$(PROVE)

fuzz: $(READY)  ## prove: bodies and files that nobody would send
	$(PROVE)

docs: $(READY)  ## write the generated parts of the documents: state diagram, tables, specimens
	$(BIN)/python scripts/write_docs.py
	$(BIN)/python scripts/draw_specimens.py

messages: $(READY)  ## write tests/golden/messages.txt: every text that a user can see
	$(BIN)/python scripts/messages.py

prose: $(READY)  ## check the prose of documents and code, with counts for each folder; ONLY="agent/store docs"
	$(BIN)/python scripts/check_prose.py $(if $(ONLY),--all $(ONLY))

picture: $(READY)  ## draw the main panels from what a real Prometheus answers under load; five minutes
	$(BIN)/python -m grafana.picture

clean:  ## remove the environment and what tools left behind; never the state folder
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
