#!/usr/bin/env python3
"""Three hosts in one kernel (tests/harness/kernel_soak.py) with random faults: `make soak-kernel MINUTES=20`.

Prints a line every few faults and a sum; exits with 1 on a failure.

    SEED=n      repeats the faults of a run, which prints its seed at the start
"""

import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.kernel import World, enter
from harness.kernel_soak import Soak

MINUTES = float(sys.argv[1]) if len(sys.argv) > 1 else 1
os.environ["SAPAIR_KERNEL_LIMIT"] = str(int(MINUTES * 60 + 240))
os.environ.setdefault("SAPAIR_SEED", os.environ.get("SEED", str(random.randrange(1 << 30))))


def main():
    enter()
    seed = int(os.environ["SAPAIR_SEED"])
    print("soak: %g minutes, SEED=%d" % (MINUTES, seed), flush=True)
    end = time.monotonic() + MINUTES * 60
    world, s, failed = World(), None, False
    try:
        s = Soak(world, random.Random(seed))
        s.run(end)
        s.judge()
    except Exception as e:
        failed = True
        print("FAILED: %s: %s" % (type(e).__name__, e), flush=True)
    trouble, logs = world.close(failed)
    for line in trouble:
        print("FAILED: " + line)
    if failed:
        print(logs[-60000:])
    print("soak %s: %s rekeys, slowest to come back %.1f s; faults: %s" % (
        "failed" if failed or trouble else "ok", s and s.rekeys, s.slowest if s else 0,
        ", ".join("%s %d" % f for f in sorted(s.faults.items())) if s else ""))
    return 1 if failed or trouble else 0


if __name__ == "__main__":
    sys.exit(main())
