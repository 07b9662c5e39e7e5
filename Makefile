# A newcomer needs `make run` and `make test`. The other targets are for contributors.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
RUNTIME_POSTGRES := $(VENV)/.runtime-postgres
READY := $(VENV)/.ready
PEERS := $(VENV)/peers/.ready
DIST := $(VENV)/dist/.ready
DATABASE := $(filter postgres,$(STORE))
ifneq ($(filter-out sqlite postgres,$(STORE)),)
$(error STORE=$(STORE) is unknown. Try: STORE=postgres or STORE=sqlite)
endif

.PHONY: help run reset test test-fast check bench explore crash simulate chaos fuzz recordings docs messages transcripts golden prose site walk photographs picture dist clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

$(RUNTIME): pyproject.toml scripts/setup
	scripts/setup $(VENV)
	@touch $@

$(RUNTIME_POSTGRES): pyproject.toml scripts/setup
	scripts/setup $(VENV) postgres
	@touch $(RUNTIME) $@

$(READY): pyproject.toml scripts/setup
	scripts/setup $(VENV) dev
	@touch $(RUNTIME) $(RUNTIME_POSTGRES) $@

$(PEERS): pyproject.toml $(READY)
	$(BIN)/python -m venv $(VENV)/peers
	$(VENV)/peers/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(VENV)/peers/bin/python -m pip install --quiet --group peers
	@touch $@

$(DIST): pyproject.toml $(READY)
	$(BIN)/python -m venv $(VENV)/dist
	$(VENV)/dist/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(VENV)/dist/bin/python -m pip install --quiet --group dist
	@touch $@

ifneq ($(and $(REPLICAS),$(filter run chaos,$(MAKECMDGOALS))),)
ifneq ($(STORE),postgres)
$(error REPLICAS needs a database. Try: make $(or $(MAKECMDGOALS),run) STORE=postgres REPLICAS=$(REPLICAS))
endif
endif

run: $(if $(DATABASE),$(RUNTIME_POSTGRES),$(RUNTIME))  ## the agent on the example requests, against the built-in sandbox; Ctrl-C ends it; STORE=postgres REPLICAS=3
	$(if $(DATABASE),$(BIN)/python scripts/demo_on_postgres.py run $(REPLICAS),$(BIN)/assure-agent run --sandbox)

reset: $(if $(DATABASE),$(RUNTIME_POSTGRES),$(RUNTIME))  ## remove the store of the demo, so that `make run` starts it again; STORE=postgres
	$(if $(DATABASE),$(BIN)/python scripts/demo_on_postgres.py reset,$(BIN)/assure-agent sandbox reset)

test: $(READY)  ## all tests, with a list of skipped tests and the reasons
	scripts/setup-system
	$(BIN)/pytest -n 3 --dist worksteal  # three workers on two cores, because half of the time they wait for other processes

test-fast: $(READY)  ## the tests for daily work, in two minutes
	$(BIN)/pytest -n 3 --dist worksteal -m "not slow"

check: $(READY) prose  ## style, types, layers, prose, and that the documents match the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest tests/docs tests/deploy

bench: $(READY) $(if $(filter peers,$(or $(SECTIONS),peers)),$(PEERS))  ## measure costs and baselines in one run; SECTIONS="waiting store" LONG=1 ROUNDS=5
	$(BIN)/python -m bench $(SECTIONS) $(if $(LONG),--long) $(if $(ROUNDS),--rounds $(ROUNDS))

# Verification (docs/verification.md). The default is the short form. `make simulate SEED=7 LONG=1 JOBS=2` is a long form.
PROVE = $(BIN)/python -m verification $@ --seed $(or $(SEED),1) --jobs $(or $(JOBS),1) $(if $(LONG),--long) $(if $(MUTATE),--mutate $(MUTATE)) $(if $(REPLICAS),--replicas $(REPLICAS))

explore: $(READY)  ## verify the state machine: every history with one fault, with two by LONG=1
	$(PROVE)

crash: $(READY)  ## verify recorded scenarios: kill at every commit and call, resume and compare; REPLICAS=2
	$(PROVE)

simulate: $(READY)  ## verify whole lives under a virtual clock, with faults and kills; SEEDS=100 lives; REPLICAS=3
	$(PROVE) $(if $(SEEDS),--count $(SEEDS))

chaos: $(READY)  ## verify the installed command, with kill -9 at random times; STORE=postgres also kills the database; REPLICAS=3
	$(PROVE) $(if $(STORE),--store $(STORE))

fuzz: $(READY)  ## verify the parsers with noise and with broken bodies and files
	$(PROVE)

recordings: $(READY)  ## record replies of the sandbox for the tests of the HTTP connections
	$(BIN)/python -m verification.record_exchanges tests/assure/http/recorded_replies.json

docs: $(READY)  ## write the generated parts of the documents: tables, reference and man pages, pictures of phases, specimens
	$(BIN)/python scripts/write_docs.py
	$(BIN)/python scripts/draw_specimens.py

site: $(READY)  ## build the documentation site in site/; broken links fail
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

messages: $(READY)  ## write tests/golden/messages.txt, every text that a user can see
	$(BIN)/python scripts/messages.py

transcripts: $(READY)  ## write tests/core/transcripts/: what the state machine does in each scenario
	$(BIN)/python tests/core/transcript.py

golden: $(READY)  ## write tests/golden/cli: the complete output of commands
	WRITE_GOLDEN=1 $(BIN)/python -m pytest -q tests/cli/test_golden_output.py

prose: $(READY)  ## check the prose of documents and code, part of `make check`; ONLY="agent/store docs"
	$(BIN)/python scripts/check_prose.py $(if $(ONLY),--all $(ONLY))

walk: $(READY)  ## trace a request file to its first call to Assure, and write the functions into docs/architecture.md
	$(BIN)/python scripts/trace_walk.py

photographs: $(READY)  ## photograph the status page for the documents, against the sandbox, in Chromium
	$(BIN)/python scripts/photograph_page.py

picture: $(READY)  ## draw the main panels from the data of a real Prometheus under load; five minutes
	$(BIN)/python -m grafana.screenshot

dist: $(DIST)  ## build wheel and sdist from the last commit into dist/, twice and compared, with checksums and an SBOM
	$(VENV)/dist/bin/python scripts/dist.py

clean:  ## remove the environment and the files of tools, but not the state folder
	rm -rf $(VENV) site dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
