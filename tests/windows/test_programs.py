#!/usr/bin/env python3
"""Unit tests and a short simulation of the Windows build, under Wine. Arguments select programs."""

import concurrent.futures
import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.wine import BUILD, ENV, WINE, require_wine


def run(program):
    words = ["--short"] if os.path.basename(program) == "sim.exe" else []
    try:
        r = subprocess.run([WINE, program, *words], env=ENV, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240)
        return r.stdout.decode("utf-8", "replace").replace("\r\n", "\n"), r.returncode
    except subprocess.TimeoutExpired as error:
        return (error.stdout or b"").decode("utf-8", "replace"), "none: time limit exceeded"


def main():
    programs = sorted(
        glob.glob(os.path.join(BUILD, "test_*.exe"))
        + glob.glob(os.path.join(BUILD, "tests", "agent", "test_*.exe"))
        + glob.glob(os.path.join(BUILD, "sim.exe")),
        key=lambda p: (not p.endswith("sim.exe"), p),  # the longest first
    )
    programs = [p for p in programs if all(w in p for w in sys.argv[1:])]
    count = failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for program, (text, status) in zip(programs, pool.map(run, programs)):
            name = os.path.basename(program)[:-4]
            seen = bad = 0
            for line in text.splitlines():
                m = re.match(r"(ok|not ok) \d+ - (.*)", line)
                if m:
                    count += 1
                    seen += 1
                    bad += m.group(1) != "ok"
                    print("%s %d - %s: %s" % (m.group(1), count, name, m.group(2)))
                elif line.startswith("#"):
                    print(line)
            plan = re.search(r"^1\.\.(\d+)$", text, re.M)
            if (status != 0 and not bad) or not plan or int(plan.group(1)) != seen:
                count, bad = count + 1, bad + 1
                print("not ok %d - %s exits with status 0: status %s" % (count, name, status))
                print("".join("#  %s\n" % part for part in text.splitlines()[-20:]), end="")
            failed += bad
    print("1..%d" % count)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    require_wine()
    main()
