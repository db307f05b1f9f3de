# make demo   installs everything into .venv, searches a real image model, shows what it found
# make test   installs everything into .venv, runs the tests
# make check  lint, types, imports and tests: what CI runs
# make clean  removes .venv and what tools left behind, and leaves demo/ alone
#
# PyTorch is installed first, in a step of its own; TORCH= gives pip other arguments for it.
# Where PYTHON has a fitting one already:  make demo TORCH= VENV_OPTIONS=--system-site-packages

PYTHON = python3
VENV = .venv
VENV_OPTIONS =
TORCH = torch==2.14.1 torchvision==0.29.1

# The demo: minutes it searches, images per quality measurement, and the setting it exports. Each
# behaviour is observed once and the front not measured afresh: on two cores that would cost half of
# the candidates.
MINUTES = 7.5
SAMPLES = 500
WHERE = target_forwards <= 128
DEMO = demo
STORE = sqlite:///$(DEMO)/paretoken.db

BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet
PARETOKEN = $(BIN)/paretoken

.PHONY: help venv install install-dev browser demo test lint types imports check clean

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

venv: $(VENV)/made

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "paretoken needs Python 3.11 or newer; name one with PYTHON=python3.12"; exit 1; }
	@echo "== making $(VENV)"
	@$(PYTHON) -m venv $(VENV_OPTIONS) $(VENV) || \
	  { echo "Python's venv module is missing; on Debian: apt install python3-venv"; exit 1; }
	@if [ -n "$(TORCH)" ]; then \
	  echo "== installing PyTorch: several GB for a GPU build, 2 to 10 minutes, only once"; \
	  $(PIP) install $(TORCH); fi
	@touch $@

# What is installed is written down and compared, so that nothing is installed twice. `make test`
# installs a strict tree of links, which type checkers can follow but which knows only the files
# there were: it is renewed when files come or go.
install: venv
	@if [ -f $(VENV)/for-tests ]; then $(MAKE) --no-print-directory install-dev; else \
	now=$$(cksum < pyproject.toml); \
	if [ "$$now" != "$$(cat $(VENV)/for-use 2>/dev/null)" ]; then \
	  echo "== installing paretoken and what it needs: 1 to 3 minutes, only once" && \
	  $(PIP) install -e . && echo "$$now" > $(VENV)/for-use; fi; fi

install-dev: venv
	@now=$$({ cat pyproject.toml; find search spaces evaluators cache -type f ! -name '*.pyc' \
	  | LC_ALL=C sort; } | cksum); \
	if [ "$$now" != "$$(cat $(VENV)/for-tests 2>/dev/null)" ]; then \
	  echo "== installing paretoken with its tools for tests: 1 to 3 minutes" && \
	  $(PIP) install -e '.[dev]' --config-settings editable_mode=strict && \
	  echo "$$now" > $(VENV)/for-tests; fi

# Stopped half-way, it continues where it was; finished, it searches no more (rm -r demo: anew).
demo: install
	@mkdir -p $(DEMO)
	@if [ ! -f $(DEMO)/finished ]; then \
	  resume=; \
	  if $(PARETOKEN) studies --json --store $(STORE) 2>/dev/null | grep -q '"name": "demo"'; \
	  then resume=--resume; echo "== continuing the search: $(MINUTES) minutes"; \
	  else echo "== searching: $(MINUTES) minutes; Ctrl-C loses nothing, make demo continues"; fi; \
	  $(PARETOKEN) search fashion --study demo --space fashion-small --samples $(SAMPLES) \
	    --observations 1 --no-confirm --minutes $(MINUTES) --seed 0 --store $(STORE) $$resume && touch $(DEMO)/finished; \
	else echo "== searched already: rm -r $(DEMO) to begin anew"; \
	  $(PARETOKEN) front demo --store $(STORE); fi
	@echo "== report, settings and images"
	@$(PARETOKEN) report demo --store $(STORE) --out $(DEMO)/report.html
	@$(PARETOKEN) export demo --store $(STORE) --where '$(WHERE)' --minimize fid \
	  --to json --out $(DEMO)/tuned.json --force
	@$(PARETOKEN) generate --settings $(DEMO)/tuned.json --out $(DEMO)/grid.png
	@echo
	@echo "the front and every candidate   $(DEMO)/report.html   (open it in a browser)"
	@echo "the setting to use              $(DEMO)/tuned.json    (the best FID with $(WHERE))"
	@echo "images drawn with it            $(DEMO)/grid.png"
	@echo "all measurements                $(DEMO)/paretoken.db"
	@echo
	@echo "what is marked ? was measured once; to measure the front afresh, for some minutes more:"
	@echo "$(PARETOKEN) search fashion --study demo --resume --trials 1 --store $(STORE)"

# Tests of the report are driven in chromium, and are skipped where there is none. CI has to have it.
browser:
	@if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "== installing chromium for tests of the report: half a minute, only once"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	    --no-install-recommends chromium; } >/dev/null 2>&1 || true; fi; \
	command -v chromium >/dev/null || { echo "== no chromium: tests in a browser are skipped"; \
	  [ -z "$$CI" ]; }

# A process for every core, four at most; a file's tests stay together, for they share models.
test: install-dev browser
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: install-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: install-dev
	$(BIN)/mypy

imports: install-dev
	$(BIN)/lint-imports

check: lint types imports test

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache
	find search spaces evaluators cache tests -name __pycache__ -type d -prune -exec rm -rf {} +
