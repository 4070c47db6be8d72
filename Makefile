# Two commands for a newcomer: `make demo` shows the main job on a real kernel, `make test` proves everything.
.DEFAULT_GOAL := help
PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
HERE := tests/unit tests/engine tests/api tests/host tests/opennebula
# The longest, and they ask nothing of the libraries: once in a test run.
CRASHES := $(addprefix tests/engine/test_,crashes.py crashes_of_moves.py dirty.py faults.py)
OTHERS := $(HERE) $(CRASHES:%=--ignore=%)
# Guests wait for a third of the time: two files at once, the lab's first. Each process has guests of its own.
AT_ONCE := -n $(or $(WORKERS),2) --dist loadfile --no-loadscope-reorder
AIOHTTP := 3.11.16 3.13.2
# What aiohttp's own server of these releases leaves to the garbage collector (the tests' servers) is not ours to mend.
OLDER := -q -p no:cacheprovider -W ignore::pytest.PytestUnraisableExceptionWarning
HTTP := $(addprefix tests/unit/test_cdmi_,client.py client_hostile.py content.py objects.py once.py references.py uploads.py)
DEBIAN_SET := python3-aiohttp python3-pyroute2 python3-rtslib-fb python3-systemd python3-libvirt \
	python3-pytest python3-pytest-asyncio python3-jsonschema python3-trustme python3-prometheus-client python3-hypothesis

.PHONY: help setup demo life run soak pictures explanations fuzz check test test-here test-debian test-http test-matrix test-lab lab crashes mutants bench install clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(VENV)/.stamp build/.packages ## install what the other targets need (apt as root or by sudo, pip into .venv)

$(VENV)/.stamp: pyproject.toml
	@dpkg -s python3-venv >/dev/null 2>&1 || sh tests/lab/install-packages.sh python3-venv python3-dev
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

build/.packages: tests/lab/host-packages.txt Makefile
	@mkdir -p build
	sh tests/lab/install-packages.sh $(DEBIAN_SET) $$(grep -v '^#' tests/lab/host-packages.txt)
	@touch $@

demo: setup ## guests that boot from CDMI objects by every way there is, from nothing and back to nothing
	$(BIN)/python -m demo

life: lab ## the whole life of an OpenNebula VM in the lab, line by line: KIND=nfs, iscsi, fc, or all (a disk of each)
	$(BIN)/python -m demo.life --kind $(or $(KIND),all)

run: $(VENV)/.stamp ## the daemon in the foreground, on a simulated host and a small CDMI server
	$(BIN)/python -m demo.simulate

soak: lab ## kill -9 at random moments on the real kernel (CYCLES=1000 SEED=...), then 200 of each: FC, two hosts, every way; 30 losses of power
	$(BIN)/python -m tests.lab.soak --cycles $(or $(CYCLES),1000) $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m tests.lab.soak_fc
	$(BIN)/python -m tests.lab.soak_grants
	$(BIN)/python -m tests.lab.soak_growth
	$(BIN)/python -m tests.lab.soak_power $(if $(SEED),--seed $(SEED))

pictures: setup ## draw docs/screens/ anew, from real attaches in the lab
	$(BIN)/python -m demo.pictures

explanations: $(VENV)/.stamp ## write docs/resolve.md anew, from what the command says
	$(BIN)/python -m demo.explanations

fuzz: $(VENV)/.stamp ## anything as exports, objects, headers, pages (TIME=60 seconds each, SEED=..., TARGET=...)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,fuzz]' >/dev/null 2>&1 || echo "without atheris: by our own loop"
	$(BIN)/python -m tests.fuzz --time $(or $(TIME),60) $(if $(SEED),--seed $(SEED)) $(if $(TARGET),--target $(TARGET))

check: $(VENV)/.stamp ## ruff and mypy --strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test-here: $(VENV)/.stamp ## the tests that need no lab, on today's releases of the libraries
	$(BIN)/pytest $(AT_ONCE) $(HERE)

test-debian: build/.packages ## the same tests on the libraries that Debian 12 ships
	@mkdir -p build
	@echo "the same tests with Debian's own libraries:"
	@$(if $(AGAIN),,rm -rf build/cache-debian)
	@/usr/bin/python3 -m pytest -q -o cache_dir=build/cache-debian $(AGAIN) $(OTHERS) >build/test-debian.log 2>&1 \
		|| { cat build/test-debian.log; exit 1; }
	@tail -n 1 build/test-debian.log

lab: setup ## build the lab's guest image and its snapshots
	tests/lab/lab build

build/aiohttp-%/.stamp: pyproject.toml | $(VENV)/.stamp
	@mkdir -p build
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --editable '.[test]' aiohttp==$*
	@touch $@

test-http: build/aiohttp-$(firstword $(AIOHTTP))/.stamp ## what speaks HTTP with servers, on the aiohttp of Debian 13
	@echo "the client's tests with aiohttp $(firstword $(AIOHTTP)):"
	@$(<D)/bin/python -m pytest $(OLDER) $(HTTP) >build/test-http.log 2>&1 \
		|| { cat build/test-http.log; exit 1; }
	@tail -n 1 build/test-http.log

test-matrix: test-here test-debian $(AIOHTTP:%=build/aiohttp-%/.stamp) ## test-here on every aiohttp: 3.8, 3.11, 3.13, today's
	@for version in $(AIOHTTP); do echo "the same tests with aiohttp $$version:"; \
		build/aiohttp-$$version/bin/python -m pytest $(OLDER) $(HERE) || exit 1; done

test-lab: lab ## the tests on a real kernel
	$(BIN)/pytest $(AT_ONCE) tests/lab

crashes: $(VENV)/.stamp ## every death and fault at every point; `make test` divides the points among them
	CDMI_CRASHES=all $(BIN)/pytest $(CRASHES)

mutants: $(VENV)/.stamp ## plant known bugs, one at a time: the crash suite must turn red for each
	$(BIN)/python -m tests.engine.mutants

test: setup check lab ## everything: what CI runs; Debian's libraries and an older aiohttp beside, with what time is left
	@nice $(MAKE) --no-print-directory test-debian test-http >build/beside.log 2>&1 & beside=$$!; \
	$(BIN)/pytest $(AT_ONCE) tests/lab $(HERE); status=$$?; \
	wait $$beside || { cat build/beside.log; echo "what failed beside two emulated machines, by itself:"; \
		$(MAKE) --no-print-directory test-debian AGAIN=--last-failed && $(MAKE) --no-print-directory test-http; } \
		|| exit 1; exit $$status

bench: setup ## the lab's figures beside os-brick and the floor, and the simulator's; build/bench.json
	$(BIN)/python -m bench
	$(BIN)/python -m bench.simulated
	$(BIN)/python -m bench.content

install: $(VENV)/.stamp ## build the wheel and install it on this host, with units and rules (root)
	$(BIN)/python -m build --wheel --no-isolation --outdir dist . >/dev/null
	sh systemd/install.sh dist/cdmi_attach-*.whl

clean: ## remove what was built here (the lab's cache stays)
	rm -rf build dist $(VENV)
