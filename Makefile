# One door for everything. `make demo` and `make test` work on a fresh clone with Python 3.11, make and git.
PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test test-slow check docs notebooks bench bench-ensemble bench-landscape bench-gradients bench-index bench-evaluation bench-credit bench-audit format clean

demo: $(VENV)/.whence
	$(BIN)/whence demo --out runs/demo

test: $(VENV)/.dev
	$(BIN)/pytest -n 2 -m "not slow"

test-slow: $(VENV)/.dev
	$(BIN)/pytest -n 2

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: $(VENV)/.dev
	$(BIN)/python tools/docs/methods_page.py docs/methods.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

notebooks: $(VENV)/.dev
	$(BIN)/python tools/docs/notebooks.py docs/notebooks

bench: bench-ensemble bench-landscape bench-gradients bench-index bench-evaluation bench-credit bench-audit

bench-ensemble: $(VENV)/.dev
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/parallel.py
	$(BIN)/python benchmarks/plan_memory.py
	$(BIN)/python benchmarks/startup.py

bench-landscape: $(VENV)/.dev
	$(BIN)/python benchmarks/laws.py
	$(BIN)/python benchmarks/power.py
	$(BIN)/python benchmarks/planted.py
	$(BIN)/python benchmarks/screening.py
	$(BIN)/python benchmarks/landscape_cost.py

bench-gradients: $(VENV)/.dev
	$(BIN)/python benchmarks/features_cost.py
	$(BIN)/python benchmarks/features_memory.py
	$(BIN)/python benchmarks/scores_cost.py
	$(BIN)/python benchmarks/errors.py
	$(BIN)/python benchmarks/specificity.py
	$(BIN)/python benchmarks/agreement.py

bench-index: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/index_search.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/prefilter.py

bench-evaluation: $(VENV)/.dev
	$(BIN)/python benchmarks/ablation.py --out runs/leaderboard/ablation.json
	$(BIN)/whence leaderboard digits --work runs/leaderboard --out docs

bench-credit: $(VENV)/.dev
	$(BIN)/python benchmarks/credit.py retrain
	$(BIN)/python benchmarks/credit.py tune
	$(BIN)/python benchmarks/credit_figures.py

bench-audit: $(VENV)/.dev
	$(BIN)/python benchmarks/audit_data.py --out runs/audit
	$(BIN)/python benchmarks/audit_membership.py --out runs/audit
	$(BIN)/python benchmarks/audit_memorisation.py --out runs/audit

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist site src/*.egg-info

$(VENV)/.whence: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.whence
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@
