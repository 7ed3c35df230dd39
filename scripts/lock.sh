#!/usr/bin/env bash
# Resolves every dependency of the workspace into requirements.lock: pinned, hashed, free of addresses.
# With an output file as argument it writes there instead, starting from today's pins.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${1:-requirements.lock}"
[ "$target" = requirements.lock ] || cp requirements.lock "$target"
groups=(build embedded test bench lint types)
members=(pocketwire pocketwire-common pocketwire-gateway pocketwire-natsync pocketwire-chathub)
uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate "${@:2}" \
  "${groups[@]/#/--group=}" "${members[@]/#/--no-emit-package=}" \
  --output-file "$target" pyproject.toml packages/*/pyproject.toml
