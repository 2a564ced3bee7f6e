#!/bin/sh
# Builds the source distribution, from it the wheel, and writes their digests, all into dist/.
set -eu
PATH=$PWD/.venv/bin:$PATH
rm -rf dist
log=$(mktemp)
trap 'rm -f "$log"' EXIT
python -m build --no-isolation >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
python -m twine check --strict dist/*
cd dist
sha256sum -- * >SHA256SUMS
cat SHA256SUMS
