#!/usr/bin/env bash
# Generates everything again in a copy and compares, so that the working tree is never touched.
set -euo pipefail
copy=$(mktemp -d)
trap 'rm -rf "${copy}"' EXIT
cp -r go.mod go.sum Makefile api config controllers internal tools "${copy}/"
make --no-print-directory -C "${copy}" update-generated >/dev/null
for dir in api config; do
  if ! diff -ru "${dir}" "${copy}/${dir}"; then
    echo 'Generated files are out of date. Run "make update-generated".'
    exit 1
  fi
done
