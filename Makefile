.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OLDEST := .venv-oldest
OLDEST_READY := $(OLDEST)/.ready
CLIENT := .venv-arvados
CLIENT_READY := $(CLIENT)/.ready
SEEDS ?= 100
PIP_OPTIONS := --quiet --disable-pip-version-check

.PHONY: help
help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

# A half made environment is removed, so that the next try starts afresh. $(1): its folder
define make_venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (make PYTHON=...)" >&2; exit 1; }
@test -x $(1)/bin/pip || { rm -rf $(1) && $(PYTHON) -m venv $(1); } \
	|| { rm -rf $(1); echo "python3-venv is needed: apt-get install python3-venv" >&2; exit 1; }
endef

$(READY): setup.cfg pyproject.toml
	@echo "making $(VENV): a minute or two, once"
	$(call make_venv,$(VENV))
	@$(BIN)/python -m pip install $(PIP_OPTIONS) -e '.[test]'
	@touch $@

$(OLDEST_READY): setup.cfg pyproject.toml tests/oldest.txt
	$(call make_venv,$(OLDEST))
	@$(OLDEST)/bin/python -m pip install $(PIP_OPTIONS) -r tests/oldest.txt
	@$(OLDEST)/bin/python -m pip install $(PIP_OPTIONS) --no-deps --no-build-isolation -e .
	@touch $@

# The real client of the queue's API has a folder of its own: it brings 200 MB with it. Without it one test is skipped.
$(CLIENT_READY):
	$(call make_venv,$(CLIENT))
	@$(CLIENT)/bin/python -m pip install $(PIP_OPTIONS) arvados-python-client==3.2.1
	@touch $@

.PHONY: setup
setup: $(READY)  ## make .venv with everything that running and testing need

.PHONY: run
run: $(READY)  ## run a sample workload on this computer (no cloud, no cluster); STAY=1 stays up for playing
	@$(BIN)/cloud-dispatcher demo $(if $(STAY),--stay)

.PHONY: test
# Four rows beside each other: what runs in virtual time and only computes, the slow ones of it, the slow ones among the others,
# which mostly wait for processes, and all the rest. The first three are told after the fourth.
VIRTUAL := tests/core tests/simulation tests/monitoring
test: $(READY)  ## run all tests
	@told=$$(mktemp -d); export LEFT_OUT="$$told/left-out"; : >"$$LEFT_OUT"; \
	trap 'kill $$virtual $$long $$slow 2>/dev/null; rm -rf "$$told"' EXIT; trap 'exit 130' INT TERM; \
	$(BIN)/python -m pytest -m 'slow and not deb' $(VIRTUAL) >"$$told/long" 2>&1 & long=$$!; \
	$(BIN)/python -m pytest -m 'not slow and not deb' $(VIRTUAL) >"$$told/virtual" 2>&1 & virtual=$$!; \
	{ $(MAKE) --no-print-directory $(CLIENT_READY) || rm -rf $(CLIENT); \
	  $(BIN)/python -m pytest -m 'slow and not deb' $(VIRTUAL:%=--ignore=%); } >"$$told/slow" 2>&1 & slow=$$!; \
	failed=0; $(BIN)/python -m pytest -m 'not slow and not deb' $(VIRTUAL:%=--ignore=%) || failed=1; \
	echo "== the rows that ran beside it"; for row in $$virtual $$long $$slow; do wait $$row || failed=1; done; \
	cat "$$told/virtual" "$$told/long" "$$told/slow" "$$LEFT_OUT"; exit $$failed

.PHONY: test-oldest
# Without the rooms that import no library (tests/test_architecture.py): no version of one can matter there.
test-oldest: $(OLDEST_READY)  ## run the tests that rest on libraries, without the slow ones, on the oldest supported versions
	@$(OLDEST)/bin/python -m pytest -m 'not slow and not deb' $(VIRTUAL:%=--ignore=%)

.PHONY: storm
storm: $(READY)  ## run seeded storms in virtual time: make storm SEEDS=1000
	@$(BIN)/python -m dispatcher.simulation storm --seeds $(SEEDS)

.PHONY: planted
planted: $(READY)  ## let storms loose on each planted fault (tests/simulation/planted)
	@$(BIN)/python -m tests.simulation.plant

.PHONY: bench
bench: $(READY)  ## measure every figure that is aimed at, some 20 minutes: make bench GROUPS="idle huge"
	@$(BIN)/python -m tests.bench.aims $(GROUPS)

.PHONY: bench-core
bench-core: $(READY)  ## measure the cost of a pass and of each big event
	@$(BIN)/python -m tests.bench

.PHONY: bench-live
bench-live: $(READY)  ## measure how fast the running dispatcher reacts: make bench-live SCENES="idle burst" LIGHT=1
	@$(BIN)/python -m tests.bench.live $(SCENES) $(if $(LIGHT),--light) $(if $(INTERVAL),--interval $(INTERVAL))

.PHONY: lint
lint: $(READY)  ## check the style of the code with ruff
	@$(BIN)/ruff check .

.PHONY: types
types: $(READY)  ## check the types with mypy (strict in core)
	@$(BIN)/mypy

.PHONY: docs
docs: $(READY)  ## write the generated pages of docs/ anew
	@$(BIN)/python docs/generate.py

.PHONY: docs-check
docs-check: $(READY)  ## fail when a generated page of docs/ is stale
	@$(BIN)/python docs/generate.py --check

.PHONY: deb
deb: $(READY)  ## build the Debian packages from what is committed, into dist/
	@PYTHON=$(BIN)/python debian/build.sh dist

.PHONY: test-deb
test-deb: $(READY)  ## build, install and run the Debian packages in clean trees; as root: make test-deb DEBIAN_SUITES="bookworm trixie"
	@$(BIN)/python -m pytest -m deb tests/package

.PHONY: test-debian-libraries
test-debian-libraries: $(READY)  ## run the suite on Debian's own Python and libraries in clean trees, as root; TESTS="-k words" for some of it
	@PYTHONPATH=tests $(BIN)/python -m tests.package.libraries $(TESTS)

.PHONY: clean
clean:  ## stop what make run left behind, and remove everything that was made
	@if test -x $(BIN)/cloud-dispatcher && $(BIN)/cloud-dispatcher demo --help 2>/dev/null | grep -q -e --stop; \
		then $(BIN)/cloud-dispatcher demo --stop || echo "some processes of the demo could not be stopped" >&2; fi
	@rm -rf $(VENV) $(OLDEST) $(CLIENT) .demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	@find dispatcher drivers tests docs -name __pycache__ -type d -prune -exec rm -rf {} +
