#!/usr/bin/env python3
"""scripts/ansible: the role against its table in docs/lab.md, and on two hosts, which are this machine at two
addresses: its effects, and the changes that it reports."""

import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.documents import bare, read, section, table
from harness.settings import ROOT, SAPAIR
from harness.tap import check, equal, main, need_tools, test

ROLE = os.path.join(ROOT, "scripts", "ansible")
HOSTS = ("h1", "h2")


@test
def variables_are_those_of_the_document():
    rows = {bare(r[0]) for r in table(section(read("docs/lab.md"), "### Ansible"))}
    found = set(re.findall(r"^(sapair_\w+):", read("scripts/ansible/roles/sapair_lab/defaults/main.yml"), re.M))
    equal(sorted(rows), sorted(found), "variables")


class Playbook:
    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="sapair-ansible-")
        net = "127.%d.%d." % (random.randint(30, 90), random.randint(1, 250))
        self.file = self.write("lab.json", json.dumps({
            "lab": "ansible", "backend": "soft",
            "hosts": [{"name": h, "address": net + str(i)} for i, h in enumerate(HOSTS, 1)]}))
        self.hosts = self.write("hosts", "".join(
            "%s ansible_connection=local ansible_python_interpreter=%s\n" % (h, sys.executable)
            for h in HOSTS))
        return self

    def __exit__(self, *_):
        for h in HOSTS:
            subprocess.run([SAPAIR, "stop", "--control", self.path("on-" + h, "control.sock")],
                           capture_output=True)
        shutil.rmtree(self.folder)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def run(self, *words, state="present", copies=False, rc=0):
        """({host: number of changes}, output)"""
        more = {"sapair_lab_file": self.file, "sapair_lab_program": SAPAIR, "sapair_lab_state": state,
                "sapair_lab_dir": self.path("on-{{ inventory_hostname }}"),
                "sapair_lab_host_program": "" if copies else SAPAIR, "sapair_lab_must_be_clean": False}
        r = subprocess.run(
            ["ansible-playbook", "-i", self.hosts, os.path.join(ROLE, "lab.yml"), "-e", json.dumps(more),
             *words], capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL,
            env=dict(os.environ, ANSIBLE_NOCOLOR="1", ANSIBLE_LOCALHOST_WARNING="False",
                     ANSIBLE_CONFIG=self.write("ansible.cfg", ""), ANSIBLE_PIPELINING="1",
                     ANSIBLE_LOCAL_TEMP=self.path("tmp"), ANSIBLE_REMOTE_TEMP=self.path("tmp"),
                     HOME=self.folder, LC_ALL="C.UTF-8"))
        check(r.returncode == rc, "exit %d, wanted %d\n%s%s" % (r.returncode, rc, r.stdout, r.stderr))
        return {h: int(n) for h, n in re.findall(r"^(h\d) .*changed=(\d+)", r.stdout, re.M)}, r.stdout

    def files(self):
        return sorted(f for f in os.listdir(self.folder) if f != ".ansible")

    def kill(self, host):
        with open(self.path("on-" + host, "pid")) as f:
            os.kill(int(f.read()), signal.SIGKILL)


@test
def the_role_brings_a_lab_up_and_takes_it_away():
    need_tools(ansible_playbook="ansible-core")
    with Playbook() as book:
        changed, text = book.run("--check", "--limit", "h1")
        check(changed["h1"] > 0, "a check before says: %s\n%s" % (changed, text))
        check(book.files() == ["ansible.cfg", "hosts", "lab.json", "tmp"],
              "a check has written %s" % book.files())
        changed, text = book.run(copies=True)
        check(min(changed.values()) > 0, "the first run says: %s\n%s" % (changed, text))
        status = subprocess.run(
            [SAPAIR, "status", "--json", "--control", book.path("on-h1", "control.sock")],
            capture_output=True, text=True, check=True).stdout
        equal([(p["name"], p["verified"]) for p in json.loads(status)["peers"]], [("h2", True)], "pairs")
        equal(stat.S_IMODE(os.stat(book.path("on-h1", "bundle")).st_mode), 0o600, "mode of a bundle")
        equal(book.run("--check", "--limit", "h1")[0], {"h1": 0}, "changes by a check after")
        book.kill("h2")
        text = book.run("--limit", "h2", "-e", "sapair_lab_host_program=/nowhere/sapair", rc=2)[1]
        check("fatal: [h2]: FAILED!" in text and "/nowhere/sapair does not exist" in text, text)
        equal(book.run()[0], {"h1": 0, "h2": 1}, "changes by a second run, where one agent had died")
        changed, text = book.run(state="absent")
        check(min(changed.values()) > 0, "absent says: %s\n%s" % (changed, text))
        equal(book.files(), ["ansible.cfg", "bundles", "hosts", "lab.json", "tmp"],
              "what is left")
        equal(os.listdir(book.path("bundles")), [], "bundles that are left")


if __name__ == "__main__":
    main()
