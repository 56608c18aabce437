# Each target builds the environment it needs on first use. VENV names another place for it.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt
# Files side by side, in the order of tests/conftest.py: the long ones first.
PYTEST = $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# Of make soak: fault schedules, and malformed requests to the local service.
SCHEDULES ?= 10000
REQUESTS ?= 10000
SEED ?= $(shell date +%s)

.PHONY: demo check test soak lab lint pictures bench s3a classes corpus reasons clean

demo: $(VENV)/.run
	$(BIN)/dataflow-magic demo notebooks/quickstart.ipynb --out .demo

# Some minutes: all but Spark, the browser and the coverage.
check: lint
	$(PYTEST) -m 'not (spark or browser)'

test: $(VENV)/.develop
	$(PYTEST) --cov --cov-report= --cov-fail-under=0
	$(BIN)/coverage report

soak: $(VENV)/.develop
	nice $(BIN)/python -m tests.faults.malformed $(SEED) $(REQUESTS)
	nice $(BIN)/python -m tests.faults.schedules $(SEED) $(SCHEDULES)
	nice $(BIN)/python -m tests.faults.sweeps $(SEED) $(SCHEDULES)

lab: $(VENV)/.run
	DATAFLOW_MAGIC_HOME=$(CURDIR)/.demo/home $(BIN)/jupyter lab --ServerApp.root_dir=$(CURDIR)/notebooks

lint: $(VENV)/.develop
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/mypy

pictures: $(VENV)/.develop
	$(BIN)/python -m tests.browser.pictures docs/pictures

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/load.py
	$(BIN)/python benchmarks/ledger.py
	$(BIN)/python benchmarks/watch.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/card.py
	$(BIN)/python benchmarks/local.py
	$(BIN)/python benchmarks/logs.py
	$(BIN)/python benchmarks/event_log.py

# The classes that make s3a:// a folder. After a change of their sources; needs a JDK of 17 or newer.
s3a: $(VENV)/.develop
	$(BIN)/python -m tests.local.spark.build_s3a

# The names of the classes that a first session loads. After a new version of PySpark.
classes: $(VENV)/.develop
	$(BIN)/python -m tests.local.spark.list_classes

# PySpark's own examples by spark-submit and by the local service; 40 minutes. MATCH names some.
MATCH ?=
corpus: $(VENV)/.develop
	$(BIN)/python -m tests.local.spark.corpus --match '$(MATCH)'

# Real failures on Spark, recorded anew under tests/reasons/records; an hour. MATCH names some.
reasons: $(VENV)/.develop
	$(BIN)/python -m tests.reasons.record --match '$(MATCH)'

clean:
	rm -rf .venv .demo .coverage*

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) --editable '.[local,notebook]'
	touch $@

$(VENV)/.develop: $(VENV)/.run
	$(PIP) --group test --group lint
	touch $@

$(VENV)/.bench: $(VENV)/.run
	# Without the constraints: the peers bring their own.
	$(BIN)/python -m pip --disable-pip-version-check --quiet install --group bench
	touch $@
