#!/usr/bin/env bash
# Builds each package into an environment that holds nothing but what it declares, and imports it there.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
for package in common gateway natsync chathub; do
  uv venv --quiet "$folder/$package"
  uv pip install --quiet --python "$folder/$package/bin/python" --constraint <(sed -E 's/ *\\$//; /--hash/d' requirements.lock) \
    "packages/common" "packages/$package"
  module="$([ "$package" = common ] && echo common.serving.server || echo "$package.app")"
  (cd "$folder" && "$folder/$package/bin/python" -c "import $module")
  echo "$package imports alone"
done
