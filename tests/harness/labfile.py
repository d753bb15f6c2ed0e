"""Lab files, and the lab verbs on them."""

import json
import os
import random

from harness.program import expect_exit, run_sapair
from harness.settings import SLOW
from harness.tap import check, equal


def lab_file(lab, count=2, name="demo", **more):
    """A lab file with hosts on loopback addresses that no other test uses."""
    net = "127.%d.%d." % (random.randrange(30, 90), random.randrange(1, 250))
    text = {"lab": name, "backend": "soft",
            "hosts": [{"name": "h%d" % i, "address": "%s%d:%d" % (net, i, lab.port)}
                      for i in range(1, count + 1)]}
    text.update(more)
    path = os.path.join(lab.dir, name + ".json")
    with open(path, "w") as f:
        json.dump(text, f)
    return path


class RunningLab:
    """A lab file, its folder, and the verbs on it; `lab down` runs at the end of the test."""

    def __init__(self, lab, path, *flags):
        self.path, self.flags = path, flags
        self.dir = os.path.join(lab.dir, "run")
        self.log = lab.dir
        lab.cleanups.append(self.end)

    def __call__(self, verb, *more, rc=0, limit=60):
        r = run_sapair("lab", verb, self.path, "--dir", self.dir, "--json", *self.flags, *more,
                 limit=limit * SLOW)
        return expect_exit(r, rc).doc("lab")

    def up(self, *more, rc=0):
        return self("up", *more, rc=rc)

    def pid(self, host):
        with open(os.path.join(self.dir, host, "pid")) as f:
            return int(f.read())

    def end(self):
        run_sapair("lab", "down", self.path, "--dir", self.dir, *self.flags, limit=60)

    def processes(self):
        """Process ids of the agents of this lab."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % pid) as f:
                    line = f.read()
            except OSError:
                continue
            if self.dir in line and "bundle" in line:
                found.append(pid)
        return found

    def check_nothing_left(self):
        check(not os.path.exists(self.dir), "%s still exists" % self.dir)
        equal(self.processes(), [], "processes still running")


def failed_hosts(doc):
    """Name and cause of each failed host of a document lab."""
    return {h["name"]: h["cause"] for h in doc["hosts"] if h["state"] == "failed"}
