"""One run of the program, and what it printed."""

import json
import os
import subprocess

from harness import tap
from harness.settings import SAN, SAPAIR
from harness.tap import Skip, check

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
REPORTS = ("Sanitizer:", "runtime error:", "Assertion")


class Result:
    """Exit status, stdout and stderr of a run."""

    def __init__(self, rc, out, err):
        self.rc, self.out, self.err = rc, out, err

    @property
    def docs(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def doc(self, schema):
        """The only document of that schema."""
        found = [d for d in self.docs if d["schema"] == "sapair.%s/1" % schema]
        check(len(found) == 1, "%d documents sapair.%s/1 in:\n%s" % (len(found), schema, self))
        return found[0]

    def __str__(self):
        return "exit %s\nstdout: %s\nstderr: %s" % (self.rc, self.out, self.err)


def result_of(process):
    """Of a completed process, which must not have ended by a signal or by a sanitizer's report."""
    r = Result(
        process.returncode,
        process.stdout.decode("utf-8", "replace"),
        process.stderr.decode("utf-8", "replace"),
    )
    for report in REPORTS:
        check(report not in r.err, "%r in stderr of %s:\n%s" % (report, process.args, r))
    check(r.rc >= 0, "%s was ended by signal %d\n%s" % (process.args, -r.rc, r))
    return r


def run_sapair(*args, limit=None, **kw):
    """Runs a verb that asks no agent, or names its control socket itself."""
    return result_of(
        subprocess.run(
            [SAPAIR, *args], stdin=subprocess.DEVNULL, capture_output=True,
            timeout=limit or tap.default_limit_s, **kw
        )
    )


def expect_exit(result, rc=0):
    """The result, which must have this exit status."""
    check(result.rc == rc, "wanted exit %d:\n%s" % (rc, result))
    return result


def need_faketime():
    """The library that gives a program another time; skips the test where it cannot be loaded."""
    if SAN:
        raise Skip("the plain build does it")
    if not os.path.exists(FAKETIME):
        raise Skip("no libfaketime: install faketime")
    return FAKETIME
