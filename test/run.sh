#!/bin/sh
# Builds everything and runs all tests: sh test/run.sh [ARGUMENT of meson test...]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
sh "$root/.ci/install" test
if [ -f "$root/build/build.ninja" ]; then
  meson setup --reconfigure "$root/build" "$root"  # Catch2 may have come since.
else
  meson setup "$root/build" "$root"
fi
meson compile -C "$root/build"
meson test -C "$root/build" --print-errorlogs "$@"
