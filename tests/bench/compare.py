#!/usr/bin/env python3
"""Compares two programs by tests/bench/bench.py, in interleaved pairs: old, new, new, old, ...

    tests/bench/compare.py OLD NEW                     start restart rekey wire rate, ten pairs
    tests/bench/compare.py OLD NEW --pairs 3 --only wire

For each row: the median of the ratios new / old of the pairs, their range, and both medians. A pair runs
within seconds, so a change of the machine's speed affects both sides of a ratio. --limit R ends with status
1 when the median ratio of a row exceeds R; rows in "/s" are not judged.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench.py")


def measure(program, names):
    """{(bench, row): (value, unit)} of one run."""
    run = subprocess.run(
        [sys.executable, "-B", BENCH, "--quick", "--json", "--only", *names],
        env=dict(os.environ, SAPAIR=os.path.abspath(program)), stdout=subprocess.PIPE, text=True,
    )
    if run.returncode != 0:
        sys.exit("compare: %s: bench.py exited with status %d" % (program, run.returncode))
    rows = json.loads(run.stdout)["rows"]
    return {(r["name"], r["what"]): (r["value"], r["unit"]) for r in rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--only", nargs="+", default=["start", "restart", "rekey", "wire", "rate"])
    parser.add_argument("--limit", type=float, help="greatest median ratio allowed")
    o = parser.parse_args()

    runs = {"old": [], "new": []}
    for i in range(o.pairs):
        for side in ("old", "new") if i % 2 == 0 else ("new", "old"):
            runs[side].append(measure(getattr(o, side), o.only))
    over = []
    print("%-8s %-48s %10s %10s %6s  %s" % ("bench", "row", "old", "new", "ratio", "range"))
    for key in runs["old"][0]:
        old, new = ([r[key][0] for r in runs[s]] for s in ("old", "new"))
        unit = runs["old"][0][key][1]
        if not all(old):
            continue
        ratios = sorted(n / m for n, m in zip(new, old))
        ratio = statistics.median(ratios)
        print("%-8s %-48s %10.4g %10.4g %6.3f  %.3f to %.3f %s" % (
            *key, statistics.median(old), statistics.median(new), ratio, ratios[0], ratios[-1], unit))
        if o.limit and unit != "/s" and ratio > o.limit:
            over.append("%s: %s: %.3f" % (*key, ratio))
    for line in over:
        print("over the limit of %g: %s" % (o.limit, line))
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
