#!/usr/bin/env python3
"""The same source gives the same program in any folder; the list of components in it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


def sources():
    """Sources, tracked or not, without build results."""
    for folder, folders, files in os.walk(TOP):
        folders[:] = [f for f in folders if f not in ("build", ".git", "__pycache__")]
        for f in files:
            yield os.path.relpath(os.path.join(folder, f), TOP)


def run_make(folder, *words):
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
    r = subprocess.run(["make", "-s", "-j2", *words], cwd=folder, env=env, capture_output=True, text=True)
    if r.returncode != 0:
        raise RuntimeError(r.stdout + r.stderr)
    return os.path.join(folder, "build", "linux")


def build(parent, name):
    folder = os.path.join(parent, name)
    for f in sources():
        os.makedirs(os.path.dirname(os.path.join(folder, f)), exist_ok=True)
        shutil.copy(os.path.join(TOP, f), os.path.join(folder, f))
    os.makedirs(os.path.join(folder, "build"))
    os.symlink(os.path.join(TOP, "build", "deps"), os.path.join(folder, "build", "deps"))
    return run_make(folder)


def same(folders, name):
    return len({hashlib.sha256(open(os.path.join(f, name), "rb").read()).digest()
                for f in folders}) == 1


def main():
    results = []
    with tempfile.TemporaryDirectory() as parent:
        # One of the two is what all other tests use; that it is up to date is seen to.
        folders = [run_make(TOP, "build/linux/sapair", "build/linux/sbom.json"),
                   build(parent, "another-folder-with-a-name-that-is-longer")]
        results.append((same(folders, "sapair"), "two builds in two folders give the same program"))
        results.append((same(folders, "sbom.json"), "and the same list of what is in it"))
        with open(os.path.join(folders[0], "sbom.json")) as f:
            bom = json.load(f)
        names = {c["name"]: c.get("version") for c in bom["components"]}
        results.append((
            bom["bomFormat"] == "CycloneDX" and all(names.get(n) for n in ("mbedTLS", "libuv", "cJSON")),
            "which names every library with its version: %s" % names))
        with open(os.path.join(folders[1], "sapair"), "rb") as f:
            results.append((parent.encode() not in f.read(), "no folder of the builder is in the program"))
    print("1..%d" % len(results))
    for i, (ok, title) in enumerate(results):
        print("%s %d - %s" % ("ok" if ok else "not ok", i + 1, title))
    return 0 if all(ok for ok, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
