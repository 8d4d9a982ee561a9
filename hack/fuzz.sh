#!/usr/bin/env bash
# Runs every fuzz target of the module for the time given, one after the other.
set -euo pipefail
fuzztime=${1:-30s}
grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9]+' internal | while IFS=: read -r file func; do
  target=${func#func }
  echo "fuzzing ${target} in $(dirname "${file}") for ${fuzztime}"
  nice go test "./$(dirname "${file}")" -run='^$' -fuzz="^${target}\$" -fuzztime="${fuzztime}" -parallel=2
done
