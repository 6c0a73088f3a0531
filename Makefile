# make demo: the whole path on the sample set.  make test: every check.  make docs: the documentation, at http://127.0.0.1:8000.
# Each makes the environment if it must.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo
# One more than processors: tests wait for servers, browsers and disks
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)')

# Else every process of the tests would compile their files anew
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test format docs docs-reference environment

environment: $(VENV)/ready

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: environment
	rm -rf $(DEMO)
	$(BIN)/limner sample $(DEMO)/lesions
	$(BIN)/limner check $(DEMO)/lesions --out $(DEMO)/check
	$(BIN)/limner train $(DEMO)/lesions --minutes 10 --set train.target_dice=0.9 --out $(DEMO)/run
	$(BIN)/limner test $(DEMO)/run/model.safetensors $(DEMO)/lesions
	$(BIN)/limner predict $(DEMO)/run/model.safetensors $(DEMO)/lesions/ISIC2018_Task1-2_Test_Input --out $(DEMO)/predictions
	@echo
	@echo "The check:    $(DEMO)/check/index.html"
	@echo "The model:    $(DEMO)/run/model.safetensors"
	@echo "Its scores:   $(DEMO)/run/report/index.html"
	@echo "Its pictures: $(DEMO)/predictions/overview.jpg"

test: environment
	$(BIN)/ruff format --check .
	$(BIN)/deno fmt --check --quiet
	$(BIN)/ruff check .
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --durations 25 -m "not alone and not heavy"
	$(BIN)/pytest -n 2 --dist worksteal -m heavy $$(grep -rl 'mark.heavy' tests)
	$(BIN)/pytest -m alone $$(grep -rl 'mark.alone' tests)

docs: environment
	$(BIN)/mkdocs serve

docs-reference: environment
	$(BIN)/python -m typer limner.cli utils docs --name limner --output docs/cli.md

format: environment
	$(BIN)/ruff format .
	$(BIN)/deno fmt --quiet
	$(BIN)/ruff check --fix .
