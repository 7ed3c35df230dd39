#!/usr/bin/env bash
# Fails when requirements.lock no longer answers to the pyproject files, or names an address.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh="$(mktemp)"
trap 'rm -f "$fresh"' EXIT
scripts/lock.sh "$fresh"
if ! diff --unified=0 requirements.lock "$fresh"; then
  echo "requirements.lock is stale: run 'just lock' and commit it" >&2
  exit 1
fi
if grep -nE '://' requirements.lock; then
  echo "requirements.lock names an address: it must hold names, versions and hashes only" >&2
  exit 1
fi
