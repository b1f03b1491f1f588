# make run                 start AstrID on this machine with a simulated survey
# make run IMAGES=folder   start it with the images of a folder
# make test                every check and test
PORT ?= 8000
HOST ?= 127.0.0.1
SURVEY ?= My images
SOURCES := astrid_site observations preprocessing differencing detection catalog curation tests manage.py

.PHONY: run test lint format clean

run:
	@.ci/install requirements.txt
	@exec .venv/bin/python manage.py run_astrid --host "$(HOST)" --port "$(PORT)" \
		$(if $(IMAGES),--images "$(IMAGES)" --survey "$(SURVEY)")

test:
	@.ci/install requirements-dev.txt
	@.ci/test

lint:
	@.ci/install requirements-dev.txt
	@.ci/test lint

format:
	@.ci/install requirements-dev.txt
	@.venv/bin/ruff check --quiet --fix $(SOURCES)
	@.venv/bin/ruff format $(SOURCES)

# Keeps var/, where the data of a running installation live.
clean:
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis test-results
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
