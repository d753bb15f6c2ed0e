#!/usr/bin/env python3
"""docs/schema: the files against the tables that they are made from, the examples, and invalid configs.
The output of agents is validated in test_output.py."""

import glob
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.documents import bare, read, section, table
from harness.schema import FOLDER, faults, load
from harness.settings import ROOT, SAPAIR
from harness.tap import check, equal, main, test

sys.path.insert(0, os.path.join(ROOT, "scripts"))
make_schemas = __import__("make-schemas")
BY_HAND = ["lab.json"]


@test
def schemas_are_those_of_the_tables():
    texts = make_schemas.texts()
    equal(sorted(os.listdir(FOLDER)), sorted([*texts, *BY_HAND]), "docs/schema")
    for name, text in texts.items():
        check(read("docs/schema/" + name) == text, "%s: run scripts/make-schemas.py" % name)


@test
def lab_schema_has_the_members_of_the_document():
    rows = {bare(r[0]) for r in table(section(read("docs/lab.md"), "## The lab file"))}
    found = set()
    for name, node in load("lab.json")["properties"].items():
        found |= {name}
        if name in ("hosts", "groups"):
            found |= {"%s[].%s" % (name, n) for n in node["items"]["properties"]}
    equal(sorted(found), sorted(rows), "members")


@test
def examples_fit_their_schema():
    for path in glob.glob(os.path.join(ROOT, "docs", "examples", "*.json")):
        with open(path) as f:
            text = json.load(f)
        wrong = faults(text, load("lab.json" if "hosts" in text else "config.json"))
        check(not wrong, "%s: %s" % (path, wrong))


@test
def what_the_schema_refuses_the_program_refuses_too():
    good = {"peers": [{"address": "192.0.2.2"}]}
    check(not faults(good, load("config.json")), "the good one")
    bad = [
        {"peer": []}, {"log": "loud"}, {"listen": [5]}, {"peers": [{}]}, {"allow_lab": "yes"},
        {"peers": [{"address": "192.0.2.2", "pin": "sha256:00"}]},
        {"peers": [{"address": "host"}]}, {"defaults": {"window": 31}}, {"defaults": {"mode": "off"}},
        {"defaults": {"suites": []}}, {"defaults": {"suites": ["aes256gcm16", "aes256gcm16"]}},
        {"defaults": {"protect": ["icmp"]}}, {"defaults": {"hard": {"time_s": 29}}},
        {"defaults": {"rekey": {"time": 5}}}, {"esp_port": 0}, {"name": ""},
    ]
    with tempfile.TemporaryDirectory() as folder:
        for config in bad:
            check(faults(config, load("config.json")), "the schema takes %s" % config)
            path = os.path.join(folder, "c.json")
            with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as f:
                json.dump(config, f)
            r = subprocess.run([SAPAIR, "check", path], capture_output=True, text=True)
            check(r.returncode == 2 and "line 1, column" in r.stderr,
                  "%s: exit %d %s" % (config, r.returncode, r.stderr))


@test
def what_the_lab_schema_refuses_the_program_refuses_too():
    hosts = [{"name": "a", "address": "192.0.2.1"}, {"name": "b", "address": "192.0.2.2"}]
    bad = [
        {}, {"hosts": hosts[:1]}, {"hosts": hosts, "pair": "all"}, {"hosts": hosts, "pairs": "some"},
        {"hosts": hosts, "pairs": []}, {"hosts": hosts, "pairs": [["a", "b", "a"]]},
        {"hosts": hosts, "pairs": [{"options": {}}]}, {"hosts": [{"name": "a"}, hosts[1]]},
        {"hosts": hosts, "options": {"window": 1}}, {"hosts": hosts, "lab": ".."},
        {"hosts": [dict(hosts[0], ssh="-oProxyCommand=x"), hosts[1]]},
        {"hosts": [dict(hosts[0], system="plan9"), hosts[1]]},
        {"hosts": hosts, "groups": [{"name": "g"}]},
    ]
    check(not faults({"hosts": hosts}, load("lab.json")), "the good one")
    with tempfile.TemporaryDirectory() as folder:
        for lab in bad:
            check(faults(lab, load("lab.json")), "the schema takes %s" % lab)
            path = os.path.join(folder, "lab.json")
            with open(path, "w") as f:
                json.dump(lab, f)
            r = subprocess.run([SAPAIR, "lab", "init", path, "--out", folder], capture_output=True,
                               text=True)
            check(r.returncode == 2 and "line 1, column" in r.stderr,
                  "%s: exit %d %s" % (lab, r.returncode, r.stderr))


if __name__ == "__main__":
    main()
