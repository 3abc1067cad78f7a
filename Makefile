# Every target is self-sufficient on a fresh machine with Python 3.11 or newer: it makes .venv,
# installs once, and reruns fast.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# An index of PyTorch builds for this machine: deploy/Dockerfile names that of builds without CUDA,
# which take 4 GB less than the default index's.
TORCH_INDEX ?=
BUILDS := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
UV     := $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt
DEMO   ?= demo

# Nothing phones home from a newsroom's machine.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
# Some machines forbid it: each of the hundreds of processes of a test run then compiles every
# module that it imports, which is half of what it does.
unexport PYTHONDONTWRITEBYTECODE

comma  := ,

.PHONY: demo test test-fast test-pythons lint bench national recipes services clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.run  ## the whole job on the sandbox world; results in ./demo
	$(BIN)/geoloc demo --out $(DEMO)

# files of tests side by side, long ones first; JOBS=0: one after the other. One more than the two
# cores of a small machine: some tests wait for servers most of their time
JOBS   ?= 3
# a core each: with more, the threads of one file wait for a core that those of another hold
ONE_CORE := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1
PYTEST := $(ONE_CORE) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

test: $(VENV)/.test services  ## every test, the slow end-to-end ones included
	$(PYTEST)

test-fast: $(VENV)/.test  ## the unit tests alone
	$(PYTEST) -m "not slow"

# by name or path; each has an environment of its own
PYTHONS ?= python3.11 python3.12 python3.13

test-pythons:  ## the demo and the unit tests with every Python that geoloc supports
	set -e; for python in $(PYTHONS); do \
	  own="PYTHON=$$python VENV=.venv-$${python##*/} DEMO=work/demo-$${python##*/}"; \
	  $(MAKE) demo $$own && $(MAKE) test-fast $$own; \
	done

lint: $(VENV)/.lint  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.test  ## ratios measured side by side in one run; asserts nothing; 20 minutes
	$(BIN)/python -m tests.benchmarks.bench_encoders
	$(BIN)/python -m tests.benchmarks.bench_search
	$(BIN)/python -m tests.benchmarks.bench_regions
	$(BIN)/python -m tests.benchmarks.bench_build
	$(BIN)/python -m tests.benchmarks.bench_points
	$(BIN)/python -m tests.benchmarks.bench_bulk 100
	$(BIN)/python -m tests.benchmarks.bench_flows
	$(BIN)/python -m tests.benchmarks.bench_sampling --times 10

# countries that nothing was chosen on; those of seeds 31 and 32 chose the ranking of regions
SEEDS  ?= 101 102
POINTS ?= 3000
PHOTOS ?= 50

national: $(VENV)/.run  ## how often the true region is found, in unseen countries; 15 minutes
	set -e; for seed in $(SEEDS); do \
	  own=work/national-$$seed; \
	  $(BIN)/geoloc sandbox $$own --country --seed $$seed --photos $(PHOTOS); \
	  $(BIN)/geoloc points sample $$own/roads.osm.pbf --n $(POINTS) --seed $$seed \
	    --within $$own/border.geojson --out $$own/points.parquet; \
	  $(BIN)/geoloc cube build $$own/area.yaml; \
	  $(BIN)/geoloc evaluate $$own/area.yaml $$own/photos/truth.csv --out $$own/evaluation; \
	  $(BIN)/python -m geoloc.sandbox.country.limits --seeds $$seed; \
	done

recipes: $(VENV)/.test  ## recipes of training on worlds of the sandbox, measured on unseen ones; 15 minutes
	$(BIN)/python -m tests.benchmarks.train_recipes --work work/recipes

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip

# uv takes a quarter of pip's time; but it reads no pip.conf, so pip does what uv cannot
define geoloc
$(PIP) uv && $(UV) $(BUILDS) --index-strategy unsafe-best-match -e '$(1)' \
|| { echo "pip installs instead" && $(PIP) --no-compile $(BUILDS) -e '$(1)'; }
endef

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing geoloc's core and PyTorch into $(VENV) (once; a few minutes)"
	@$(call geoloc,.)
	@touch $@

$(VENV)/.all: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing geoloc with all its extras into $(VENV) (once; a few minutes)"
	@$(call geoloc,.[all])
	@touch $@ $(VENV)/.run

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing geoloc and its test tools into $(VENV) (once; a few minutes)"
	@$(call geoloc,.[test])
	@touch $@ $(VENV)/.all $(VENV)/.run

$(VENV)/.lint: $(VENV)/.test
	@$(call geoloc,.[test$(comma)lint])
	@touch $@

# What some tests need of the system: Chromium for the reports, PostgreSQL for the flows, iproute2
# for networks between machines. Where it cannot be had, those tests are skipped and say so.
services:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null \
	|| $(call install,chromium,the reports)
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null \
	|| $(call install,postgresql,the flows)
	@command -v ip >/dev/null || $(call install,iproute2,clusters between machines)

define install
{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
  && echo "installing $(1) for the tests of $(2)" \
  && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(1) >/dev/null; } \
|| echo "$(1) is not here and cannot be installed: the tests of $(2) will be skipped"
endef

clean:
	find geoloc -name __pycache__ -prune -exec rm -rf {} +  # numba's cache does not see all edits
	rm -rf $(VENV) .venv-* $(DEMO) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: up down lock images

lock: $(VENV)/bin/python  ## the images' lock files from constraints.txt; asks the package index
	$(PIP) uv
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python deploy/lock.py

images: $(VENV)/.test  ## built and run without a container runtime; root, buildah, debootstrap; 30 GB
	$(BIN)/python -m tests.benchmarks.build_images

up: $(VENV)/.all  ## server, work pool, deployments and worker on this machine: see deploy/README.md
	$(BIN)/python deploy/local.py up

down:  ## stops them; nothing is lost
	$(BIN)/python deploy/local.py down
