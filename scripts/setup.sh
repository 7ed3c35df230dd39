#!/usr/bin/env bash
# Makes .venv from requirements.lock; does nothing when it is already up to date.
set -euo pipefail
cd "$(dirname "$0")/.."
export UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1
wanted="$(cat requirements.lock packages/*/pyproject.toml | sha256sum | cut -d' ' -f1)"
[ "$(cat .venv/.installed 2>/dev/null || true)" = "$wanted" ] && exit 0
echo "Installing Pocketwire into .venv ..." >&2
[ -x .venv/bin/python ] || uv venv --quiet --python '>=3.11' .venv
uv pip sync --quiet --python .venv/bin/python --require-hashes requirements.lock
uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation \
  --editable packages/common --editable packages/gateway --editable packages/natsync --editable packages/chathub
echo "$wanted" > .venv/.installed
