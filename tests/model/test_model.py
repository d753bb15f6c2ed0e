#!/usr/bin/env python3
"""The model of the exchange, tests/model/exchange.pml: spin visits every order of events (TAP)."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "exchange.pml")

# Name, options, minimum number of states: a model that stops early would keep every invariant.
KEPT = [
    ("two faults and a rekey, SAs in the kernel", ["-DFAULTS=2", "-DREKEYS=1"], 500_000),
    ("two faults and a rekey, SAs in the agent", ["-DFAULTS=2", "-DREKEYS=1", "-DSOFT"], 300_000),
    ("one fault and two rekeys", ["-DFAULTS=1", "-DREKEYS=2"], 50_000),
]
# The broken rule, and the assertion of the model that must fail.
BROKEN = [
    ("I1", "the answer is sent before the inbound SA is installed"),
    ("I2", "different hellos have no effect"),
    ("I3", "a dropped SA is forgotten, not removed"),
    ("I5", "the old outbound SA is removed before the new one is installed"),
    ("I6", "a follower drops an SA that it must keep"),
]


def run(argv, cwd):
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, errors="replace")


def search(options, folder):
    """The output of pan, and the source line of a failed assertion. It is compiled without
    optimisation: that would take longer than the search."""
    spin = run(["spin", "-a"] + options + [MODEL], folder)
    cc = run(["gcc", "-O0", "-w", "-DSAFETY", "-DCOLLAPSE", "-DVECTORSZ=1024", "-DNOFAIR",
              "-o", "pan", "pan.c"], folder)
    if spin.returncode or cc.returncode:
        return spin.stdout + spin.stderr + cc.stderr, ""
    said = run(["./pan", "-m100000", "-w22"], folder).stdout
    line = ""
    if "assertion violated" in said:
        trail = run(["spin", "-t", "-k", "exchange.pml.trail"] + options + [MODEL], folder).stdout
        m = re.search(r"exchange\.pml:(\d+), Error: assertion violated", trail)
        if m:
            with open(MODEL) as f:
                line = f.read().splitlines()[int(m.group(1)) - 1]
    return said, line


def main():
    missing = [t for t in ("spin", "gcc") if not shutil.which(t)]
    if missing:
        print("1..0 # SKIP no %s: install %s" % (", ".join(missing), " ".join(missing)))
        return 0
    number, failed = 0, False
    print("1..%d" % (len(KEPT) + len(BROKEN)))
    for name, options, least in KEPT:
        with tempfile.TemporaryDirectory() as folder:
            said, _ = search(options, folder)
        m = re.search(r"(\d+) states, stored", said)
        states = int(m.group(1)) if m else 0
        ok = "errors: 0" in said and "max search depth too small" not in said and states >= least
        number, failed = number + 1, failed or not ok
        print("%s %d - %s: I1 to I6 hold and both hosts become idle" % (
            "ok" if ok else "not ok", number, name))
        print("# %d states" % states if ok else "# " + said.replace("\n", "\n# "))
    for rule, name in BROKEN:
        with tempfile.TemporaryDirectory() as folder:
            said, line = search(["-DFAULTS=1", "-DREKEYS=1", "-DBREAK_" + rule], folder)
        ok = "assertion violated" in said and "/* %s" % rule in line
        number, failed = number + 1, failed or not ok
        print("%s %d - a broken rule is found by %s: %s" % (
            "ok" if ok else "not ok", number, rule, name))
        if not ok:
            print("# " + (line + "\n" + said).replace("\n", "\n# "))
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
