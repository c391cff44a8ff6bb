# Everything sets itself up in .venv; only Python 3.10 or newer and make are needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BENCH := $(VENV)-bench
PORT ?= 8000
ANYIO := 4.16.0
COMPILED := $(VENV)-compiled
# Tests run beside each other, as many as there are cores; those of steps and lag are alone.
WORKERS ?= auto
# ARGS may choose tests of one group only.
OR_NONE := || [ $$? -eq 5 ]

# The wheel of what is here, built once: what an earlier build has left may hold modules that are gone.
define INSTALL
rm -rf build/lib* build/bdist* build/wheels
$(1)/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/wheels .
$(1)/bin/python -m pip install --quiet build/wheels/*.whl $(2)
$(1)/bin/python -m pip install --quiet --no-deps --force-reinstall build/wheels/*.whl
endef

.PHONY: demo test test-fast test-compiled test-versions test-asyncio check format docs bench bench-gate clean

demo: $(VENV)/.demo  ## Run the example shop with the toolbar and print its URL
	@$(BIN)/python examples/demo.py --port $(PORT)

test: $(VENV)/.test  ## Run all tests; parts that the machine lacks are skipped by name
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS) --dist worksteal --ignore tests/tasks --ignore tests/browser $(ARGS) $(OR_NONE)
	$(BIN)/coverage run -m pytest tests/tasks $(ARGS) $(OR_NONE)
	$(BIN)/python -m pytest -n $(WORKERS) tests/browser $(ARGS) $(OR_NONE)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-fast: $(VENV)/.test  ## Unit tests, with few generated examples
	TOOLBAR_TEST_EXAMPLES=100 $(BIN)/python -m pytest -q -n $(WORKERS) tests/unit $(ARGS)

test-compiled: $(VENV)/.test  ## The wheel, compiled, where tasks and servers run; test-versions has the rest
	$(PYTHON) -m venv $(COMPILED)
	$(COMPILED)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(call INSTALL,$(COMPILED),--group test)
	$(COMPILED)/bin/python tests/compiled.py
	$(COMPILED)/bin/python tests/tasks/cpython.py
	$(COMPILED)/bin/python -m pytest -q -m "not replaces" tests/tasks $(ARGS)
	$(COMPILED)/bin/python -m pytest -q -n $(WORKERS) tests/servers/test_tasks.py tests/servers/test_matrix.py $(ARGS)

test-versions: $(VENV)/.test  ## Unit tests on the lowest Python present, and compiled on the highest
	$(BIN)/python tests/versions.py

test-asyncio: $(VENV)/.test  ## CPython's own asyncio tests and anyio's, with every task watched
	$(BIN)/python tests/tasks/cpython.py
	$(BIN)/python -m pip install --quiet --group anyio-tests
	$(BIN)/python -m pip download --quiet --no-deps --no-binary anyio --dest build anyio==$(ANYIO)
	tar -xzf build/anyio-$(ANYIO).tar.gz -C build
	$(BIN)/python tests/tasks/cpython.py --anyio build/anyio-$(ANYIO)

check: $(VENV)/.check  ## Format, lint, types, layers, generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

format: $(VENV)/.check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.test  ## Write the generated pages anew
	$(BIN)/python docs/generate.py

bench: $(BENCH)/.bench $(BENCH)-fastapi/.bench  ## Cost beside the bare app and others; writes docs/performance.md
	$(call INSTALL,$(BENCH))
	$(BENCH)/bin/python bench/run.py --peers $(BENCH)-fastapi/bin/python $(ARGS)

bench-gate: $(VENV)/.test  ## Fail when watching costs half as much again as it did
	$(BIN)/python bench/gate.py $(ARGS)

clean:
	rm -rf $(VENV) $(BENCH) $(BENCH)-fastapi build dist .coverage .coverage.* .pytest_cache .ruff_cache

# A mark of its own, so that a set-up that was interrupted is begun anew.
$(VENV)/.pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "otel-toolbar needs Python 3.10 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.demo: pyproject.toml | $(VENV)/.pip
	$(BIN)/python -m pip install --quiet --editable . --group demo
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/.pip
	$(BIN)/python -m pip install --quiet --editable . --group test
	@touch $@ $(VENV)/.demo

$(VENV)/.check: pyproject.toml | $(VENV)/.pip
	$(BIN)/python -m pip install --quiet --editable . --group check
	@touch $@ $(VENV)/.test $(VENV)/.demo

# What we are compared with stays out of the tests' environment; two of them cannot share one.
$(BENCH)/.bench: pyproject.toml | $(VENV)/.pip
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BENCH)/bin/python -m pip install --quiet --group bench
	@touch $@

$(BENCH)-fastapi/.bench: pyproject.toml | $(VENV)/.pip
	$(PYTHON) -m venv $(BENCH)-fastapi
	$(BENCH)-fastapi/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BENCH)-fastapi/bin/python -m pip install --quiet --group bench-fastapi
	@touch $@
