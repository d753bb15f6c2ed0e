#!/bin/sh
# Runs one fuzz target over its corpus (tests/corpus/X) and what was found before (build/fuzz/X).
#
#     scripts/fuzz.sh FOLDER X SECONDS
#
# Prints one line; what libFuzzer said is in build/fuzz/X.log, and what it found in build/fuzz/X-*.
set -u
cd "$(dirname "$0")/.." || exit 1
folder=$1 name=$2 seconds=$3

[ -x "$folder/fuzz_$name" ] || {
	echo "SKIP $name: it was not built"
	exit 0
}
mkdir -p "build/fuzz/$name"
log=build/fuzz/$name.log
if "$folder/fuzz_$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
	-artifact_prefix="build/fuzz/$name-" "build/fuzz/$name" "tests/corpus/$name" >"$log" 2>&1; then
	printf '%-9s %s\n' "$name" "$(sed -n 's/^#\([0-9]*\)[[:space:]]*DONE *\(.*\) lim.*/\1 runs, \2/p' "$log")"
else
	tail -n 40 "$log"
	echo "$name: found something, see $log" >&2
	exit 1
fi
