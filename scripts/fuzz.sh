#!/bin/sh
# Runs one fuzz target over its corpus (tests/corpus/X) and what was found before (build/fuzz/X).
#
#     scripts/fuzz.sh FOLDER X SECONDS
#
# SECONDS are those of the processor: on a machine that is busy it takes longer. Prints one line; what
# libFuzzer said is in build/fuzz/X.log, and what it found in build/fuzz/X-*.
set -u
cd "$(dirname "$0")/.." || exit 1
folder=$1 name=$2 seconds=$3

[ -x "$folder/fuzz_$name" ] || {
	echo "SKIP $name: it was not built"
	exit 0
}
mkdir -p "build/fuzz/$name"
log=build/fuzz/$name.log
begun=$(date +%s)
"$folder/fuzz_$name" -max_total_time=$((seconds * 20)) -timeout=20 -rss_limit_mb=2048 \
	-print_final_stats=1 -artifact_prefix="build/fuzz/$name-" "build/fuzz/$name" "tests/corpus/$name" >"$log" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null' EXIT
trap 'exit 1' INT TERM

# Hundredths of a second that it took; nothing when it has ended.
taken() {
	awk '{ sub(/.*\) /, ""); if ($1 != "Z") print $12 + $13 }' "/proc/$pid/stat" 2>/dev/null
}
cpu=0
while now=$(taken) && [ -n "$now" ]; do
	cpu=$now
	[ "$cpu" -lt $((seconds * 100)) ] || kill -USR1 "$pid" # it ends when the input at hand is done
	sleep 0.3
done
if wait "$pid"; then
	printf '%-9s %s runs, %s; %d s of the processor, %d s in all\n' "$name" \
		"$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
		"$(sed -n 's/^#[0-9]*.*\(cov: .*\) lim:.*/\1/p' "$log" | tail -n 1)" \
		$((cpu / 100)) $(($(date +%s) - begun))
else
	tail -n 40 "$log"
	echo "$name: found something, see $log" >&2
	exit 1
fi
