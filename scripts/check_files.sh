#!/usr/bin/env bash
# Lints what is neither Python nor prose.
set -euo pipefail
cd "$(dirname "$0")/.."
store="$(mktemp -d)"
trap 'rm -rf "$store"' EXIT
for mode in development production; do
  HOME="$store" POCKETWIRE_CADDY_STORE="$store" POCKETWIRE_CADDY_MODE="$mode" \
    .venv/bin/caddy validate --adapter caddyfile --config infra/caddy/Caddyfile >"$store/log" 2>&1 \
    || { cat "$store/log" >&2; exit 1; }
done
.venv/bin/caddy fmt --diff infra/caddy/Caddyfile >"$store/log" || { cat "$store/log" >&2; exit 1; }
.venv/bin/hadolint infra/Dockerfile
for script in scripts/*.sh .ci/run; do bash -n "$script"; done
echo "Caddyfile (development, production), Dockerfile and scripts are sound"
