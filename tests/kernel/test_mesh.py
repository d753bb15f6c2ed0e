#!/usr/bin/env python3
"""A lab of ten hosts in a kernel that has loaded none of the modules that it needs."""

import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.kernel import main
from harness.netns import sh
from harness.program import expect_exit, run_sapair
from harness.tap import check, equal, test, until

os.environ["SAPAIR_KERNEL_MODULES"] = "veth bridge"


def slowness():
    """1 on an idle machine, more on a busy one."""
    start = time.monotonic()
    for _ in range(20):
        run_sapair("version")
    return max(1, (time.monotonic() - start) / 0.8)


@test
def ten_hosts_on_a_fresh_kernel_form_a_verified_full_mesh(w):
    with open("/proc/modules") as f:
        check("gcm" not in f.read(), "this kernel has its modules already")
    path = w.write("mesh.json", json.dumps({
        "lab": "mesh", "backend": "xfrm",
        "hosts": [{"name": "h%d" % i, "address": "192.0.2.%d" % i} for i in range(1, 11)]}))
    words = [path, "--here", "--dir", w.path("mesh"), "--json"]
    w.cleanups.append(lambda: run_sapair("lab", "down", path, "--dir", w.path("mesh"), limit=60))
    slow = slowness()
    start = time.monotonic()
    up = expect_exit(run_sapair("lab", "up", *words, limit=100)).doc("lab")
    took = time.monotonic() - start
    equal((up["where"], up["well"], len(up["pairs"])), ("namespaces", 45, 90), "lab up: %s" % up)
    print("# 45 pairs up and proven in %.1f s, on a machine that is %.1f times slower than idle" % (took, slow))
    check(took < 40 * slow, "45 pairs took %.1f s" % took)  # 13 s on an idle machine
    space = up["hosts"][0]["netns"]
    # At rest. Two links of one pair may have made two exchanges, and the older pair drains for 5 s.
    until(lambda: sh("ip", "-n", space, "xfrm", "state", "count").split()[-1:] == ["18"], "SAs of one host are 18",
          limit=20 * slow)
    down = expect_exit(run_sapair("lab", "down", path, "--dir", w.path("mesh"), "--json", limit=60)).doc("lab")
    equal({h["state"] for h in down["hosts"]}, {"gone"}, "lab down")
    check("sapair" not in sh("ip", "netns"), "namespaces that are left")


if __name__ == "__main__":
    main()
