#!/bin/sh
# Builds everything and runs all tests: sh test/run.sh [ARGUMENT of meson test...]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
sh "$root/.ci/install" test
again=
[ ! -f "$root/build/build.ninja" ] || again=--reconfigure  # Catch2 may have come since.
meson setup $again -Dtests=true "$root/build" "$root"
meson compile -C "$root/build"
meson test -C "$root/build" --print-errorlogs "$@"
