# Pocketwire. `just` lists the recipes.

set positional-arguments

python := ".venv/bin/python"

[private]
default:
    @just --list --unsorted

# Start the whole platform; `just up --detach` returns when everything is green.
[group('run')]
up *options: setup
    @{{ python }} -m infra.embedded up "$@"

# Stop the platform.
[group('run')]
down: setup
    @{{ python }} -m infra.embedded down

# Show every part; exit code 0 when all are green.
[group('run')]
status: setup
    @{{ python }} -m infra.embedded status

# Print the end of the logs: `just logs`, `just logs gateway`, `just logs gateway --follow`.
[group('run')]
logs *options: setup
    @{{ python }} -m infra.embedded logs "$@"

# Walk through a running platform as users do, and print each step.
[group('run')]
demo: setup
    @{{ python }} -m tests.journeys.demo

# Every test, with real servers on free ports; two files at a time, each on servers of its own.
[group('test')]
test *options: setup
    {{ python }} -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"

# Tests without servers.
[group('test')]
unit *options: setup
    {{ python }} -m pytest tests/unit "$@"

# Tests of one service each, with real servers.
[group('test')]
integration *options: setup
    {{ python }} -m pytest tests/integration "$@"

# The whole platform as a user sees it.
[group('test')]
journeys *options: setup
    {{ python }} -m pytest tests/journeys "$@"

# Line and branch coverage of the unit tests.
[group('test')]
cov: setup
    {{ python }} -m pytest tests/unit --cov --cov-report=term-missing:skip-covered

# Figures beside their peers': `just bench`, `just bench common`. Writes bench/results/.
[group('bench')]
bench *suites: setup
    @{{ python }} -m bench "$@"

# Everything that is checked without running it.
[group('check')]
check: setup lint types imports files lock-fresh

# Format the code.
[group('check')]
fmt: setup
    .venv/bin/ruff format .
    .venv/bin/ruff check --fix .

# Format and lint.
[group('check')]
lint: setup
    .venv/bin/ruff format --check .
    .venv/bin/ruff check .

# Types, strictly.
[group('check')]
types: setup
    .venv/bin/pyright

# The architecture: who may import whom.
[group('check')]
imports: setup
    .venv/bin/lint-imports

# Each package imports with nothing but its own declared dependencies.
[group('check')]
isolate: setup
    scripts/isolate.sh

# Caddyfile, Dockerfile and shell scripts.
[group('check')]
files: setup
    scripts/check_files.sh

# requirements.lock answers to the pyproject files.
[group('check')]
lock-fresh:
    scripts/check_lock.sh

# Install everything into .venv; instant when nothing changed.
[group('setup')]
setup:
    @scripts/setup.sh

# Resolve the dependencies again, keeping today's versions where they fit.
[group('setup')]
lock:
    scripts/lock.sh requirements.lock

# Resolve the dependencies to their newest versions.
[group('setup')]
upgrade:
    scripts/lock.sh requirements.lock --upgrade

# Write docs/reference/settings.md from the code.
[group('docs')]
settings-reference: setup
    {{ python }} -m scripts.settings_reference
