#!/usr/bin/env bash
# Installs what the tests on a real node take from the machine: runc, CNI plugins, nftables, iproute2, buildah, a static busybox.
# It does nothing where all is there, and where it cannot install anything; make e2e-node then says what is missing.
set -euo pipefail
missing=()
for package in buildah busybox-static containernetworking-plugins iproute2 nftables runc; do
  case ${package} in
    busybox-static) found=$(dpkg-query -W -f '${db:Status-Status}' busybox-static 2>/dev/null || true) ;;
    containernetworking-plugins) found=$(ls /usr/lib/cni/bridge /opt/cni/bin/bridge 2>/dev/null || true) ;;
    iproute2) found=$(command -v ip || true) ;;
    nftables) found=$(command -v nft || true) ;;
    *) found=$(command -v "${package}" || true) ;;
  esac
  [[ -n ${found} && ${found} != not-installed ]] || missing+=("${package}")
done
if [[ ${#missing[@]} -eq 0 || $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
  exit 0
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
timeout 300 apt-get update -q
timeout 600 apt-get install -q -y --no-install-recommends "${missing[@]}"
