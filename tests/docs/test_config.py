#!/usr/bin/env python3
"""docs/config.md and docs/examples/*.json against the rows of proto/config/table.c and `sapair check`."""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.documents import bare, read, section, source, table
from harness.settings import ROOT, SAPAIR
from harness.tap import check, equal, main, test

sys.path.insert(0, os.path.join(ROOT, "scripts"))
make_schemas = __import__("make-schemas")

doc = read("docs/config.md")
tables = make_schemas.config_rows()


def rows(heading):
    return {bare(r[0]): r[1:] for r in table(section(doc, heading))}


@test
def members_are_those_of_the_code():
    want = make_schemas.config_document(tables)
    check(doc == want, "docs/config.md: run scripts/make-schemas.py")


@test
def effects_of_a_reload_are_those_of_the_code():
    shown = [bare(r[0]).split() for r in table(section(doc, "## Reload"))]
    for change in ("rekey", "apply", "restart"):
        names = make_schemas.config_changes(tables, change)
        check(names in shown, "no row with %s" % names)
    for row in tables["peer"]:
        equal(row["change"], "peer", row["name"])


@test
def the_whole_example_has_every_member():
    full = json.loads(read("docs/examples/full.json"))
    equal(sorted(full), sorted(rows("## Agent")), "members of the agent")
    options = set()
    for k, v in full["defaults"].items():
        options |= {k + "." + n for n in v} if isinstance(v, dict) else {k}
    equal(sorted(options), sorted(rows("## Options")), "options")
    peers = {k for p in full["peers"] for k in p}
    missing = set(rows("## Peer")) - peers
    check(not missing, "no peer has %s" % ", ".join(sorted(missing)))


@test
def every_example_passes_check():
    with tempfile.TemporaryDirectory() as folder:
        for args in (["ca", "new", "--dir", "."],
                     ["ca", "issue", "alpha", "--address", "192.0.2.1", "--dir", "."]):
            subprocess.run([SAPAIR, *args], cwd=folder, check=True, capture_output=True)
        for kind in ("crt", "key"):
            shutil.copy(os.path.join(folder, "alpha." + kind), os.path.join(folder, "sapair." + kind))
        with open(os.open(os.path.join(folder, "beta.ppk"), os.O_CREAT | os.O_WRONLY, 0o600),
                  "w") as f:
            f.write("00" * 32 + "\n")
        shutil.copy(os.path.join(ROOT, "docs", "examples", "deny.txt"), folder)
        for path in sorted(glob.glob(os.path.join(ROOT, "docs", "examples", "*.json"))):
            if '"hosts"' in read(path):
                continue  # a lab file: test_schema.py and docs/lab.md
            name = os.path.join(folder, os.path.basename(path))
            shutil.copy(path, name)
            os.chmod(name, 0o600)
            r = subprocess.run([SAPAIR, "check", name, "--json"], capture_output=True, text=True)
            check(r.returncode == 0, "%s: %s%s" % (path, r.stdout, r.stderr))
            warnings = json.loads(r.stdout)["warnings"]
            check(not warnings, "%s: %s" % (path, warnings))


if __name__ == "__main__":
    main()
