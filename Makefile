# Needs python3 (3.11 or newer) with venv, and make. Everything else comes hash-locked into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TARGET ?=
# Test processes; each has its own Temporal server.
WORKERS ?= 5

# On all cores, and without the packages' own tests; pip compiles everything on one core.
COMPILE = $(BIN)/python -m compileall -qq -j 0 -x /tests/ $(VENV)/lib 2> /dev/null || true

# Hundreds of processes import the same modules: let the first one cache the bytecode.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: bench-audit bench-chaos bench-contracts bench-copies bench-fixes bench-gateway bench-hijack bench-inbox bench-kit bench-mutants bench-once bench-outage bench-peers bench-recruiter bench-search bench-wake check clean cluster cluster-test compose-test demo format image-test kube-test llama-server lock sbom setup setup-dev soak test

demo: setup
	@TARGET="$(TARGET)" KEEP="$(KEEP)" $(BIN)/python -m cli.demo

setup: $(VENV)/.runtime
setup-dev: $(VENV)/.dev

$(VENV)/.runtime: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Hibernaut needs Python 3.11 or newer; set PYTHON=…")'
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "python3 lacks venv: install it (Debian: python3-venv)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing $$(grep -c == requirements.lock) locked packages into $(VENV) …"
	@$(BIN)/python -m pip install -q --no-compile --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(COMPILE)
	@printf '#!%s\nimport sys\nsys.path.insert(0, "%s")\nfrom starter import command\ncommand()\n' \
		"$(CURDIR)/$(BIN)/python" "$(CURDIR)" > $(BIN)/hibernaut && chmod +x $(BIN)/hibernaut
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@echo "Installing $$(grep -c == requirements-dev.lock) locked packages for development into $(VENV) …"
	@$(BIN)/python -m pip install -q --no-compile --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@$(COMPILE)
	@touch $@

# Debian packages that tests use: dovecot for mail, libfaketime for wrong clocks, chromium for pages,
# linux-doc for a site of thousands of pages. Of prometheus only the unpacked tool: installed, it would run as
# a service. Without permission to install them, these tests are skipped by name.
$(VENV)/.programs:
	@missing=""; test -x /usr/sbin/dovecot || missing="dovecot-imapd"; \
	ls /usr/lib/*/faketime/libfaketime.so.1 > /dev/null 2>&1 || missing="$$missing libfaketime"; \
	test -x /usr/bin/chromium || missing="$$missing chromium"; \
	ls -d /usr/share/doc/linux-doc-*/html > /dev/null 2>&1 || missing="$$missing linux-doc"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		echo "Installing $$missing for the tests …"; export DEBIAN_FRONTEND=noninteractive; \
		{ apt-get update && apt-get install -y --no-install-recommends $$missing; } > $(VENV)/programs.log 2>&1 \
			|| echo "not installed, see $(VENV)/programs.log; tests that need it are skipped by name"; \
	fi
	@if command -v apt-get > /dev/null && ! command -v promtool > /dev/null && ! test -x $(BIN)/promtool; then \
		(cd $(VENV) && apt-get download prometheus && dpkg --fsys-tarfile prometheus_*.deb \
			| tar xO ./usr/bin/promtool > promtool && chmod +x promtool && mv promtool bin) >> $(VENV)/programs.log 2>&1 \
			|| echo "no promtool, see $(VENV)/programs.log; tests that need it are skipped by name"; \
		rm -f $(VENV)/prometheus_*.deb; \
	fi
	@touch $@

test: setup-dev $(VENV)/.programs
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart=0 $(ARGS)

check: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.links

# Long tests, and randomised ones with a fresh seed, which a failing test prints.
soak: setup-dev
	$(BIN)/python -m pytest -q -s -m 'soak or seeded or hypothesis' --override-ini addopts= --timeout=0 --hypothesis-profile=default $(ARGS)

# Builds, once, into a cache, a real language model's server for soak tests.
llama-server: setup-dev
	@$(BIN)/python -m tests.support.llama.build

# Temporal on PostgreSQL with a worker and the gateway, until Ctrl-C. Needs Go and PostgreSQL; builds once.
cluster: setup
	@$(BIN)/python -m cli.cluster $(ARGS)

cluster-test: setup-dev
	@$(BIN)/python -m tests.cluster $(ARGS)

# The Helm chart in a real Kubernetes without nodes. The first time, Go builds it in about ten minutes.
kube-test: setup-dev
	$(BIN)/python -m pytest -q -m soak --timeout=3600 tests/chaos/test_kube.py $(ARGS)

bench-kit: setup-dev
	$(BIN)/python bench/kit.py --agents 1000 --steps 3
	$(BIN)/python bench/kit.py --agents 1000 --steps 50

bench-peers: setup-dev
	$(BIN)/python bench/compare.py --agents 1000 --kills 100

bench-gateway: setup-dev
	$(BIN)/python bench/gateway.py

bench-search: setup-dev
	$(BIN)/python bench/search.py --runs 100000

bench-audit: setup-dev
	$(BIN)/python bench/audit.py

bench-contracts: setup-dev
	$(BIN)/python bench/contracts.py --contracts 200
	$(BIN)/python bench/contracts_score.py

bench-copies: setup-dev
	$(BIN)/python bench/copies.py --rounds 100

bench-fixes: setup-dev
	$(BIN)/python bench/fixes.py

bench-once: setup-dev
	$(BIN)/python bench/exactly_once.py --agents 200 --kills 40

bench-outage: setup-dev
	$(BIN)/python bench/outage.py --seconds 30 --activities 1000

bench-wake: setup-dev
	$(BIN)/python bench/wake.py --kill --asleep 2000

bench-hijack: setup-dev
	$(BIN)/python bench/hijack.py --texts 1000

bench-chaos: setup-dev
	$(BIN)/python bench/chaos.py --seconds 120

bench-recruiter: setup-dev
	$(BIN)/python bench/recruiter.py --candidates 1000

bench-mutants: setup-dev
	$(BIN)/python bench/replay_mutants.py

bench-inbox: setup-dev
	$(BIN)/python bench/inbox.py --agents 1000 --within 1

# The images' bill of materials in CycloneDX, from the lock; image builds include it.
sbom: setup-dev
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --mc-type application \
		--output-reproducible --sv 1.6 --of JSON --output-file deploy/sbom.cdx.json

# Both need podman and buildah, and root; compose-test also needs Go and PostgreSQL.
image-test: setup-dev
	$(BIN)/python -m pytest -q -s -m soak --timeout=0 tests/containers/test_image.py

compose-test: setup-dev
	$(BIN)/python -m pytest -q -s -m soak --timeout=0 tests/containers/test_compose.py

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Needs `uv` on the path. The lock names no registry; hashes cover every platform. Of skfolio only the real
# prices it ships are wanted, so its dependencies stay out.
lock:
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q -o requirements.lock
	uv pip compile pyproject.toml --extra dev -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q -o requirements-dev.lock
	echo skfolio | uv pip compile - --no-deps --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q >> requirements-dev.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
