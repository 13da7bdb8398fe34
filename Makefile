# The project's commands. Each sets up what it needs first; a repeated set-up costs a moment.
# ARGS are handed on: make demo ARGS=--keep, make pytest ARGS="-k lock_file -x".

BIN := .venv/bin
ARGS ?=

# Every test that starts a command would compile the whole package anew.
unexport PYTHONDONTWRITEBYTECODE

# More than two cores would ask for: tests mostly wait for servers.
WORKERS ?= 3

# What depends on the server's version; fetched servers bring no pg_controldata.
MATRIX := tests/facts tests/detect tests/adapters/postgres --ignore tests/facts/test_controldata.py \
	--ignore tests/facts/test_control_file.py

# What is longer, or on one version of the server only, in an ordinary run.
SOAK := tests/stories tests/sim/test_random_stories.py tests/sim/test_ends_arrive.py \
	tests/sim/test_every_runbook.py tests/sim/test_killed_everywhere.py \
	tests/store/test_interleavings.py \
	tests/adapters tests/diagnose tests/cli tests/respond tests/service tests/watch \
	tests/drill/lab/test_kept_running.py

.DEFAULT_GOAL := help
.PHONY: help demo setup test lint pytest soak mutants fmt docs lock matrix bench bench-quick bench-diagnosis

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | while IFS='|' read -r name text; do printf '%-18s %s\n' "$$name" "$$text"; done

demo: ## break a throw-away server, act by act, and watch it being rescued
	@scripts/setup-demo
	@$(BIN)/python -m stanch.drill.demo $(ARGS)

setup: ## prepare this machine for the tests
	@scripts/setup-test

# Side by side, because the type checker keeps one core busy and the tests leave some of theirs.
test: setup ## everything that must hold: every test, and beside them lint, which speaks last
	@said=$$(mktemp) && trap 'rm -f "$$said"' EXIT; \
	nice $(MAKE) --no-print-directory lint >"$$said" 2>&1 & linting=$$!; \
	tested=0; $(MAKE) --no-print-directory pytest || tested=$$?; \
	linted=0; wait $$linting || linted=$$?; \
	cat "$$said"; echo "tests: exit $$tested, lint: exit $$linted"; \
	[ $$tested = 0 ] && [ $$linted = 0 ]

lint: ## style, formatting, types, and who may import whom
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/pyright
	@$(BIN)/lint-imports

pytest: ## the tests alone
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

soak: ## every boundary, the long near misses, thousands of simulated stories, both versions everywhere
	@STANCH_SOAK=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(SOAK) $(ARGS)

matrix: setup ## the questions and the rules on every PostgreSQL from 13 to 18
	@scripts/fetch-servers
	@STANCH_MAJORS="13 14 15 16 17 18" $(BIN)/python -m pytest -n 2 --dist loadgroup $(MATRIX) $(ARGS)

mutants: setup ## take away each refusal, one at a time: does a test notice? (an hour); writes reports/guards-DATE.md
	@$(BIN)/python benchmarks/mutants.py $(ARGS)

fmt: ## put the code into its format
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: ## rewrite the pages that are made from the code
	@scripts/write-docs

lock: ## rewrite the requirement files from pyproject.toml
	@scripts/lock $(ARGS)

bench: setup ## measure everything on a quiet machine (three quarters of an hour); writes reports/bench-DATE.md
	@$(BIN)/python benchmarks/report.py $(ARGS)

bench-quick: setup ## try every benchmark with a few rounds (six minutes); writes to /tmp
	@$(BIN)/python benchmarks/report.py --quick --to /tmp $(ARGS)

# Another seed than any that was looked at while something was changed.
SEED ?= 20261121

bench-diagnosis: setup ## make every fault of the lab and count how often its cause is named first; writes reports/diagnosis-MAJOR-DATE.md
	@for major in 15 18; do \
		$(BIN)/python benchmarks/diagnosis.py --major $$major --seed $(SEED) --to reports $(ARGS) >/dev/null; \
	done
