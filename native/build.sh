#!/bin/sh
# Build the helper where the package expects it: native/build.sh [COMPILER [OUTPUT]]
set -e
cd "$(dirname "$0")"
out=${2:-../src/estiva/_native/estiva-helper}
mkdir -p "$(dirname "$out")"
# shellcheck disable=SC2046
exec "${1:-cc}" $(cat flags) -o "$out" $(ls ./*.c | grep -v launcher)
