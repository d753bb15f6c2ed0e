#!/usr/bin/env python3
"""Runs the commands that README.md and docs/*.md show, and compares what they print.

    ```console                   each line `$ COMMAND` is run, one after another; what follows it
    $ sapair check x.json        is what it prints (nothing: not compared). `...` stands for any
    ok: 1 peer                   text of a line, or on a line of its own for any lines.
    ```
    ```console norun: REASON     shown, not run
    ```console whole             the first line is the command, all else what it prints

The blocks of one document share a folder, with docs/examples and build/linux in it and `sapair` on the
path.
`COMMAND &` goes on in the background and is ended with its document. A command fails as its output
says: `(exit 4)`, else its status has to be 0. SPIs, pins, dates and times may differ. Addresses
127.0.0.x become others, so that documents can be tried side by side.
"""

import glob
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.documents import read
from harness.settings import ROOT, SAPAIR
from harness.tap import check, main, test

NET = "127.%d.%d." % (random.randint(2, 120), random.randint(1, 250))
PORT = str(random.randint(20000, 30000))
LIMIT = 60

NORMAL = [
    (r"sha256:([0-9a-f]{64}|[0-9a-f]+\.\.\.)", "PIN"),
    (r" up already\b", " up"),  # the order depends on the machine
    (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME"),
    (r"\d{4}-\d\d-\d\d", "DATE"),
    (r"\b\d\d:\d\d:\d\d\.\d{3}\b", "CLOCK"),
    (r"(?<![\w.])[0-9a-f]{16}(?![\w.])", "XID"),
    (r"(?<![\w.])[0-9a-f]{8}(?![\w.])", "SPI"),
    (r"\b\d+(\.\d+)? (ms|s|min|h|d|days)\b", "SPAN"),
    (r"\"(rtt_ms|ms|waited|inbound|switch|exchange|total|min|median|max)\":[0-9.]+", r'"\1":MS'),
    (r"\"(pid|uptime_s|age_s|rekey_in_s|hard_in_s)\":\d+", r'"\1":N'),
    (r"(?<=\s)\d+\.\d\d(?=\s|$)", "RTT"),
    (r"/tmp/tmp\.\w+", "FOLDER"),
    (r"\s+", " "),
]


def blocks(text):
    """(info, lines) of each block marked console."""
    return [(info.strip(), body.splitlines())
            for info, body in re.findall(r"^```console(.*?)\n(.*?)^```", text, re.M | re.S)]


def commands(info, lines):
    """(command, the lines that it should print)"""
    if info == "whole":
        return [(lines[0][2:], [line for line in lines[1:] if line.strip()])]
    found = []
    for line in lines:
        if line.startswith("$ "):
            found.append([line[2:], []])
        elif found and not found[-1][1] and found[-1][0].endswith("\\"):
            found[-1][0] += "\n" + line
        elif found and line.strip():
            found[-1][1].append(line)
    return found


def normal(line):
    line = line.replace(NET, "127.0.0.").replace(PORT, "4510")
    for pattern, by in NORMAL:
        line = re.sub(pattern, by, line)
    return line.strip()


def fits(want, line):
    parts = [re.escape(p) for p in normal(want).split("...")]
    return re.fullmatch(".*".join(parts), normal(line)) is not None


def matches(want, streams):
    """Whether the wanted lines come next, each on one of the streams, and no others."""
    if not want:
        return not streams[0]  # notes on stderr may be omitted
    if want[0].strip() == "...":
        rest = want[1:]
        if matches(rest, streams):
            return True
        return any(s and matches(want, streams[:i] + [s[1:]] + streams[i + 1:])
                   for i, s in enumerate(streams))
    return any(s and fits(want[0], s[0]) and matches(want[1:], streams[:i] + [s[1:]] + streams[i + 1:])
               for i, s in enumerate(streams))


class Shell:
    """One document's folder and environment."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="sapair-docs-")
        os.mkdir(os.path.join(self.folder, "bin"), 0o700)
        os.symlink(SAPAIR, os.path.join(self.folder, "bin", "sapair"))
        os.mkdir(os.path.join(self.folder, "build"))
        os.symlink(os.path.dirname(SAPAIR), os.path.join(self.folder, "build", "linux"))
        shutil.copytree(os.path.join(ROOT, "docs", "examples"),
                        os.path.join(self.folder, "docs", "examples"))
        self.env = dict(os.environ, HOME=self.folder, XDG_CONFIG_HOME=self.folder,
                        XDG_RUNTIME_DIR=self.folder, LC_ALL="C.UTF-8", SAPAIR_DEMO_PORT=PORT,
                        PATH=os.path.join(self.folder, "bin") + ":" + os.environ["PATH"])
        self.background = []
        self.identity()
        os.umask(0o022)

    def identity(self):
        """Files that the example configs name: certificate, CA, PPK."""
        where = os.path.join(self.folder, "docs", "examples")
        for args in (["ca", "new", "--dir", where],
                     ["ca", "issue", "alpha", "--address", "192.0.2.1", "--dir", where, "--out", where]):
            subprocess.run([SAPAIR, *args], check=True, capture_output=True)
        for kind in ("crt", "key"):
            os.rename(os.path.join(where, "alpha." + kind), os.path.join(where, "sapair." + kind))
        with open(os.open(os.path.join(where, "beta.ppk"), os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write("5a" * 32 + "\n")

    def run(self, command):
        """(status, lines of stdout, lines of stderr)"""
        command = command.replace("127.0.0.", NET)
        if command == "make demo":
            command = "SAPAIR=%s %s/scripts/demo.sh soft" % (SAPAIR, ROOT)
        if command.endswith("&"):
            log = open(os.path.join(self.folder, "background.log"), "a")
            self.background.append(subprocess.Popen(
                ["bash", "-c", "exec " + command[:-1]], cwd=self.folder, env=self.env,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True))
            return 0, [], []
        r = subprocess.run(["bash", "-c", command], cwd=self.folder, env=self.env,
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
        # On a busy machine the result of a rekey has one more line.
        said = [line for line in r.stdout.splitlines() if not line.startswith("  started after ")]
        return r.returncode, said, r.stderr.splitlines()

    def close(self):
        for p in self.background:
            try:
                os.killpg(p.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        for p in self.background:
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGKILL)
                p.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def try_document(path):
    shell = Shell()
    try:
        for info, lines in blocks(read(path)):
            check(info in ("", "whole") or info.startswith("norun"), "%s: %s?" % (path, info))
            if info.startswith("norun"):
                check(re.fullmatch(r"norun: \S.*", info), "%s: norun without a reason" % path)
                continue
            for command, want in commands(info, lines):
                status, out, err = shell.run(command)
                told = re.search(r"\(exit (\d+)\)", "\n".join(want))
                expected = int(told.group(1)) if told else 0
                said = "%s: $ %s\n%s\nexit %d" % (path, command, "\n".join(out + err), status)
                check(status == expected, said + ", wanted %d" % expected)
                # Two orders: stdout and stderr are separate here.
                check(not want or matches(want, [[l for l in out if l.strip()],
                                                 [l for l in err if l.strip()]]),
                      said + "\nwanted:\n" + "\n".join(want))
    finally:
        shell.close()


def shown():
    """Every document with commands in it."""
    paths = ["README.md", "CONTRIBUTING.md"]
    paths += [os.path.relpath(p, ROOT) for p in sorted(glob.glob(os.path.join(ROOT, "docs", "*.md")))]
    return [p for p in paths if blocks(read(p))]


def mark(path):
    def f():
        try_document(path)
    f.__name__ = "commands_of_%s_do_what_it_says" % path
    test(f)


def links():
    """The targets of links between the documents exist."""
    paths = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
    paths += [os.path.relpath(p, ROOT) for p in sorted(glob.glob(os.path.join(ROOT, "docs", "*.md")))]
    for path in paths:
        for target in re.findall(r"\]\(([^)#:]+)?(?:#([^)]*))?\)", read(path)):
            name, anchor = target
            to = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
            check(os.path.exists(os.path.join(ROOT, to)), "%s: no %s" % (path, to))
            if anchor:
                heads = re.findall(r"^#+ (.*)$", read(to), re.M)
                anchors = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads]
                check(anchor in anchors, "%s: no #%s in %s" % (path, anchor, to))


links.__name__ = "links_lead_somewhere"
test(links)
for document in shown():
    mark(document)
if __name__ == "__main__":
    main()
