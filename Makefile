# make demo    the app at http://127.0.0.1:7860           make demo ARGS="--port 8000"
# make test    every test                                  make test ARGS="tests/test_faces.py -k age"
# make lint    ruff over the tree
# make clean   forget the environment, so that the next call makes it anew
# Another Python: make demo PYTHON=/path/to/python3.12.    Works with GNU make 3.81, so macOS's own will do.

VENV := .venv
PY   := $(VENV)/bin/python
PIP  := $(PY) -m pip install --disable-pip-version-check

.PHONY: demo test lint python clean

demo: $(VENV)/.app
	$(PY) app.py $(ARGS)

# Two at a time, each with one thread; the longest files come first (tests/conftest.py).
test: $(VENV)/.tests
ifdef ARGS
	$(PY) -m pytest $(ARGS)
else
	$(PY) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
endif

lint: $(VENV)/.tests
	$(PY) -m ruff check .

clean:
	rm -rf $(VENV)

# A stamp is touched after its step has ended well, so a step that was cut off is done again.
$(VENV)/.tests: requirements-dev.txt $(VENV)/.app
	$(PIP) -r requirements-dev.txt
	@touch $@

$(VENV)/.app: requirements.txt $(VENV)/.made
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.made:
	@python=`$(FIND_PYTHON)` && echo "Making $(VENV) with $$python" && "$$python" -m venv --clear $(VENV)
	@touch $@

python:
	@$(FIND_PYTHON)

# Prints the first Python that will do, 3.11 first since that is what a Space runs; otherwise says what to install.
define FIND_PYTHON
bare=; for name in $(or $(PYTHON),python3.11 python3.12 python3.13 python3); do \
  "$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 || continue; \
  if "$$name" -c 'import ensurepip, venv' >/dev/null 2>&1; then command -v "$$name"; exit 0; fi; \
  bare="$$name"; \
done; \
if [ -n "$$bare" ]; then \
  echo "$$bare is here without its venv module; install it and run make again:  sudo apt-get install $${bare##*/}-venv" >&2; \
else \
  echo "Facet needs Python 3.11, 3.12 or 3.13, and none of $(or $(PYTHON),python3.11 python3.12 python3.13 python3) is one." >&2; \
  echo "Install one and run make again:  sudo apt-get install python3 python3-venv   or, on macOS,  brew install python@3.12" >&2; \
fi; exit 1
endef
