#!/bin/sh
# Runs the fuzz target X with its corpus (tests/corpus/X) and inputs of earlier runs (build/fuzz/X).
#
#     scripts/fuzz.sh FOLDER X SECONDS
#
# SECONDS is processor time. Prints one line. The output of libFuzzer is in build/fuzz/X.log, failing
# inputs are in build/fuzz/X-*.
set -u
cd "$(dirname "$0")/.." || exit 1
folder=$1 name=$2 seconds=$3

[ -x "$folder/fuzz_$name" ] || {
	echo "SKIP $name: not built"
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

# Prints the processor time of the target in hundredths of a second, or nothing if it has exited.
used_cpu() {
	awk '{ sub(/.*\) /, ""); if ($1 != "Z") print $12 + $13 }' "/proc/$pid/stat" 2>/dev/null
}
cpu=0
while now=$(used_cpu) && [ -n "$now" ]; do
	cpu=$now
	[ "$cpu" -lt $((seconds * 100)) ] || kill -USR1 "$pid" # libFuzzer exits after the current input
	sleep 0.3
done
if wait "$pid"; then
	printf '%-9s %s runs, %s; %d s of processor time, %d s in total\n' "$name" \
		"$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
		"$(sed -n 's/^#[0-9]*.*\(cov: .*\) lim:.*/\1/p' "$log" | tail -n 1)" \
		$((cpu / 100)) $(($(date +%s) - begun))
else
	tail -n 40 "$log"
	echo "$name: found a failing input, see $log" >&2
	exit 1
fi
