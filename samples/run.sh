#!/bin/sh
# Builds and runs a sample, by default quickstart: sh samples/run.sh [NAME [ARGUMENT...]]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
name=${1-quickstart}
[ $# -eq 0 ] || shift
if [ ! -f "$root/samples/$name.cpp" ]; then
  echo "there is no sample $name; choose one of:" $(cd "$root/samples" && ls -- *.cpp | sed 's/\.cpp$//') >&2
  exit 2
fi

sh "$root/.ci/install" build
{
  again=
  [ ! -f "$root/build/build.ninja" ] || again=--reconfigure
  grep -q "^build samples/$name:" "$root/build/build.ninja" 2>/dev/null ||
    meson setup $again -Dtests=true "$root/build" "$root"
  meson compile -C "$root/build" "$name"
} >&2
exec "$root/build/samples/$name" "$@"
