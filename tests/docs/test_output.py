#!/usr/bin/env python3
"""docs/output.md against the lists of the code, and against the output of two agents."""

import glob
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.documents import bare, number, read, section, source, table, tables, x_list
from harness.schema import faults, of_document
from harness.settings import ROOT, SAPAIR
from harness.tap import check, equal, main, test

doc = read("docs/output.md")
NET = "127.%d.%d." % (random.randint(2, 120), random.randint(1, 250))  # tests may run in parallel
ALPHA, BETA = NET + "1", NET + "2"


@test
def exit_statuses_are_those_of_the_code():
    rows = [r[:3] for r in table(section(doc, "## Exit status"))]
    equal(rows, [r[1:] for r in x_list(source("proto/base/err.h"), "ERR_LIST")], "exit statuses")


@test
def events_are_those_of_the_code():
    rows = [[r[0], bare(r[1]), r[2]] for r in tables(section(doc, "## Events"))[1]]
    want = [[r[1], r[2], r[3][len("LOG_"):].lower()]
            for r in x_list(source("agent/daemon/event.h"), "EVENT_LIST")]
    equal(rows, want, "events")


@test
def requests_are_those_of_the_code():
    rows = {bare(r[0]): r[1:] for r in table(section(doc, "## Control socket"))}
    ctl = source("proto/wire/ctl.c")
    fields = re.findall(r"\tX\((\w+),\s*(json_get_\w+|get_\w+),(.*?)\)\s*\\?\n", ctl)
    equal(sorted(rows), sorted(f[0] for f in fields), "members")
    for name, get, rest in fields:
        if get != "json_get_u32":
            continue
        limit = {"min": "0", "max": "4294967295"}
        for k, v in re.findall(r"\.(min|max) = (\w+)", rest):
            m = re.search(r"#define %s (\S+)" % v, ctl)
            limit[k] = str(number(m.group(1) if m else v))
        equal(rows[name][1], "%(min)s to %(max)s" % limit, name)
    verbs = {r[1]: " ".join(r[2:]) for r in x_list(source("proto/wire/ctl.h"), "CTL_VERBS")}
    equal(rows["verb"][1], " ".join("`%s`" % v for v in verbs), "verbs")
    waits = re.search(r"\bwaits\[\] = \{(.*?)NULL", ctl, re.S).group(1)
    equal(rows["wait"][1], " ".join("`%s`" % w for w in re.findall(r"\"(\w+)\"", waits)), "waits")
    for name, bit in re.findall(r"\{\"(\w+)\", CTL_HAS_(\w+),", ctl):
        having = [v for v, has in verbs.items()
                  if re.search(r"CTL_HAS_%s\b" % bit, has) or (bit in ("PEER", "ALL") and "CTL_NEEDS_PEERS" in has)]
        equal(rows[name][3], " ".join("`%s`" % v for v in having), "verbs that have " + name)


@test
def every_schema_of_the_code_is_documented():
    used = set()
    for path in glob.glob(os.path.join(ROOT, "agent", "**", "*.c"), recursive=True):
        used |= set(re.findall(r"\"(sapair\.\w+/\d+)\"", read(path)))
    equal(sorted(used), sorted(documented()), "schemas")


# --- real documents ------------------------------------------------------------------------------


def documented():
    """{schema: {member: type}}"""
    found = {}
    for schema in re.findall(r"^### (sapair\.\w+/1)$", doc, re.M):
        found[schema] = {r[0]: r[1] for r in table(section(doc, "### " + schema))}
    found["sapair.event/1"] = {r[0]: r[1] for r in tables(section(doc, "## Events"))[0]}
    found["sapair.end/1"] = {"exit": "number"}
    found["sapair.progress/1"] = {"text": "text"}
    return found


TYPES = {
    "text": lambda v: isinstance(v, str),
    "number": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "bool": lambda v: isinstance(v, bool),
    "ms": lambda v: isinstance(v, float),
    "count": lambda v: isinstance(v, str) and re.fullmatch(r"0|[1-9]\d*", v),
    "spi": lambda v: isinstance(v, str) and re.fullmatch(r"[0-9a-f]{8}", v),
    "pin": lambda v: isinstance(v, str) and re.fullmatch(r"sha256:[0-9a-f]{64}", v),
    "time": lambda v: isinstance(v, str)
    and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", v),
}


def members(value, path=""):
    """(path, value) of all values but lists and objects; an empty list counts as a value."""
    if isinstance(value, dict):
        for k, v in value.items():
            yield from members(v, path + "." + k if path else k)
    elif isinstance(value, list):
        for v in value:
            yield from members(v, path + "[]")
    else:
        yield path, value


def judge(documents):
    """Checks that every member is documented and of its type; returns the members."""
    known, seen = documented(), {}
    error = known["sapair.error/1"]
    known["sapair.status/1"].update({"peers[].error." + k: v for k, v in error.items()})
    for d in documents:
        schema = d.pop("schema")
        check(schema in known, "%s is not documented" % schema)
        for path, value in members(d):
            kind = known[schema].get(path)
            check(kind, "%s: %s is not documented: %r" % (schema, path, value))
            check(TYPES[kind](value), "%s: %s is no %s: %r" % (schema, path, kind, value))
            seen.setdefault(schema, set()).add(path)
    return seen


# Lines of the control socket; and what needs IPsec in the kernel: tests/kernel/test_plan.py.
UNSEEN = ("sapair.progress/1", "sapair.end/1", "sapair.plan/1", "sapair.clean/1",
          "sapair.half/1", "sapair.script/1",  # so far tests/kernel
          "sapair.service/1")  # tests/windows


# Verbs that run in the background, have no document, or need a kernel (validated in tests/kernel).
ELSEWHERE = {"run", "watch", "invite", "completion", "plan", "clean", "export script"}


class Agents:
    """Two agents that pair on loopback, in their own folder."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.processes = []
        self.ran = []
        self.run("ca", "new", "--dir", "ca")
        for name, own, peer in (("alpha", ALPHA, BETA), ("beta", BETA, ALPHA)):
            self.run("ca", "issue", name, "--address", own, "--dir", "ca", "--out", name)
            with open(self.path(name + ".json"), "w") as f:
                json.dump({"name": name, "listen": own, "control": name + ".sock",
                           "backend": "soft", "certificate": "%s/%s.crt" % (name, name),
                           "key": "%s/%s.key" % (name, name), "ca": "ca/ca.crt",
                           "peers": [{"address": peer}]}, f)
            os.chmod(self.path(name + ".json"), 0o600)
            with open(self.path(name + ".log"), "w") as log:
                self.processes.append(subprocess.Popen(
                    [SAPAIR, "run", "--config", name + ".json"], cwd=self.folder.name,
                    stdout=log, stderr=log))
        end = time.monotonic() + 20
        while not os.path.exists(self.path("alpha.sock")) and time.monotonic() < end:
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        for p in self.processes:
            p.terminate()
        for p in self.processes:
            p.wait(20)
        self.folder.cleanup()

    def config(self, name, **more):
        """Changes the config of an agent."""
        with open(self.path(name + ".json")) as f:
            text = json.load(f)
        text.update(more)
        with open(self.path(name + ".json"), "w") as f:
            json.dump(text, f)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def run(self, *args, status=0):
        self.ran.append(list(args))
        r = subprocess.run([SAPAIR, *args, "--json"], cwd=self.folder.name, capture_output=True,
                           text=True, timeout=60)
        check(r.returncode == status, "%s: exit %d\n%s%s" % (args, r.returncode, r.stdout, r.stderr))
        return [json.loads(line) for line in r.stdout.splitlines()]

    def alpha(self, *args, status=0):
        return self.run(*args, "--control", "alpha.sock", status=status)


@test
def real_documents_are_as_documented():
    got = []
    with Agents() as a:
        got += a.alpha("up", BETA)
        watch = subprocess.Popen([SAPAIR, "watch", "--json", "--control", "alpha.sock"],
                                 cwd=a.folder.name, stdout=subprocess.PIPE, text=True)
        time.sleep(0.3)
        got += a.alpha("status") + a.alpha("status", BETA)
        got += a.alpha("rekey", BETA, "--reason", "because") + a.alpha("rekey", "--all", "--wait")
        got += a.alpha("rekey", BETA, "--no-wait")
        a.config("alpha", export_keys=True)
        got += a.alpha("verify", BETA) + a.alpha("reload")
        got += a.alpha("rekey", BETA, "--wait") + a.alpha("export", "esp-sa")
        got += a.alpha("down", BETA) + a.alpha("down", BETA)
        got += a.alpha("verify", BETA, status=3) + a.alpha("status", BETA, status=3)
        got += a.alpha("status", "nobody", status=2)
        got += a.alpha("up", BETA, "--no-wait") + a.alpha("up", BETA)
        got += a.alpha("up", NET + "9", "--timeout", "0.5", status=4) + a.alpha("status")
        got += a.run("check", "alpha.json") + a.run("check", "nothing.json", status=2)
        got += a.run("id", "new", "--name", "gamma", "--dir", "gamma")
        got += a.run("id", "show", "alpha/alpha.crt")
        got += a.run("id", "show", "--pin", "--dir", "gamma")
        got += a.run("ca", "sign", "gamma/sapair.crt", "--address", "192.0.2.3", "--dir", "ca")
        got += a.run("ca", "renew", "alpha/alpha.crt", "--dir", "ca") + a.alpha("metrics")
        got += a.run("ca", "show", "--dir", "ca") + a.run("ca", "new", "--dir", "ca")
        got += a.run("ca", "issue", "delta", "--address", "2001:db8::4", "--dir", "ca")
        got += a.run("lab", "init", os.path.join(ROOT, "docs", "examples", "lab-star.json"))
        inviter = subprocess.Popen([SAPAIR, "invite", "beta", "--json", "--dir", "i", "--listen",
                                    ALPHA + ":4599"], cwd=a.folder.name, text=True,
                                   stdout=subprocess.PIPE)
        got.append(json.loads(inviter.stdout.readline()))
        got += a.run("join", got[-1]["token"], "--dir", "j", "--name", "alpha")
        got += [json.loads(line) for line in inviter.communicate(timeout=20)[0].splitlines()]
        lab = [os.path.join(ROOT, "docs", "examples", "lab-pair.json"), "--dir", a.path("lab")]
        got += a.run("lab", "up", *lab, "--here", "--loopback") + a.run("lab", "status", *lab)
        got += a.run("lab", "verify", *lab) + a.run("lab", "rekey", *lab) + a.run("lab", "down", *lab)
        got += a.run("version") + a.run("help") + a.run("help", "rekey")
        got += a.alpha("doctor", "--config", "alpha.json", status=4)
        got += a.alpha("stop") + a.alpha("stop")
        got += [json.loads(line) for line in watch.communicate(timeout=20)[0].splitlines()]
    verbs = {v["name"] for d in got if d["schema"] == "sapair.help/1" for v in d.get("verbs", [])}
    said = {v for v in verbs for words in a.ran if words[:len(v.split())] == v.split()}
    equal(sorted(verbs - said - ELSEWHERE), [], "verbs whose --json output no test has validated")
    for d in got:
        wrong = faults(d, of_document(d["schema"]), strict=True)
        check(not wrong, "%s against its schema: %s" % (d, wrong))
    seen = judge(got)
    # Every member that is documented as always present was seen.
    for schema, rows in documented().items():
        if schema in UNSEEN:
            continue
        check(schema in seen, "%s was not seen" % schema)
    for schema in re.findall(r"^### (sapair\.\w+/1)$", doc, re.M):
        for r in table(section(doc, "### " + schema)):
            if schema in UNSEEN:
                continue
            always = r[2] == "" and "[]" not in r[0]
            check(not always or r[0] in seen[schema], "%s: %s never came" % (schema, r[0]))


if __name__ == "__main__":
    main()
