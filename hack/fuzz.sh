#!/usr/bin/env bash
# Runs every fuzz target of the module with the number of inputs given, one after the other. A number, since with a time Go before 1.27
# reports the end of that time as a failure now and then (https://go.dev/issue/75804).
set -euo pipefail
inputs=${1:-10000}
grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9]+' internal | while IFS=: read -r file func; do
  target=${func#func }
  echo "fuzzing ${target} in $(dirname "${file}") with ${inputs} inputs"
  nice timeout 10m go test "./$(dirname "${file}")" -run='^$' -fuzz="^${target}\$" -fuzztime="${inputs}x" -parallel=2
done
