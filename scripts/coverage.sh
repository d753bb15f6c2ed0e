#!/bin/sh
# Runs the unit tests and the fuzz seeds in FOLDER, which was built with coverage instrumentation, and
# prints how many lines of proto/ and crypto/ they reach. Exits with 1 below LEAST per cent.
#
#     scripts/coverage.sh FOLDER LEAST
#
# FOLDER/html/index.html shows every line.
set -eu
cd "$(dirname "$0")/.."
folder=$1 least=$2

# some distributions install clang's tools only under versioned names
version=$(clang -dumpversion | cut -d. -f1)
tool() { command -v "$1" || command -v "$1-$version" || echo "/usr/lib/llvm-$version/bin/$1"; }
profdata=$(tool llvm-profdata)
cov=$(tool llvm-cov)

raw=$folder/raw
rm -rf "$raw"
mkdir -p "$raw"
objects=''
for program in "$folder"/test_* "$folder"/fuzz_*; do
	if [ ! -f "$program" ] || [ ! -x "$program" ]; then continue; fi
	name=$(basename "$program")
	corpus=tests/corpus/${name#fuzz_}
	set -- "$program"
	case $name in
	fuzz_*) set -- "$program" -runs=0 "$corpus" ;;
	esac
	LLVM_PROFILE_FILE=$raw/$name.profraw "$@" >"$raw/$name.log" 2>&1 || {
		cat "$raw/$name.log"
		exit 1
	}
	objects="$objects${objects:+ -object} $program"
done
"$profdata" merge -sparse -o "$folder/all.profdata" "$raw"/*.profraw
# shellcheck disable=SC2086 # a list of words
set -- -instr-profile="$folder/all.profdata" $objects -ignore-filename-regex='tests/'
"$cov" show -format=html -output-dir="$folder/html" "$@" >/dev/null
"$cov" export -summary-only "$@" | python3 -c '
import json, os, sys
data = json.load(sys.stdin)["data"][0]
for f in sorted(data["files"], key=lambda f: f["filename"]):
    lines, branches = f["summary"]["lines"], f["summary"]["branches"]
    if lines["count"] == 0:
        continue
    print("%-22s %5d lines %6.1f %%   %5d branches %6.1f %%" % (os.path.relpath(f["filename"]),
          lines["count"], lines["percent"], branches["count"], branches["percent"]))
total = data["totals"]["lines"]
print("%-22s %5d lines %6.1f %%   (minimum %s)" % ("all", total["count"], total["percent"], sys.argv[1]))
sys.exit(total["percent"] < float(sys.argv[1]))
' "$least"
