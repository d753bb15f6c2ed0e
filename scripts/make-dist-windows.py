#!/usr/bin/env python3
"""Makes the zip file for Windows hosts (`make dist-windows`). The same sources give the same bytes.

    scripts/make-dist-windows.py SAPAIR.EXE VERSION [DIR]     DIR/sapair-VERSION-windows-x64.zip
"""

import glob
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
WHEN = (2026, 1, 1, 0, 0, 0)  # the time of every file, so that the zip depends on its contents only
STRIP = os.environ.get("STRIP", "x86_64-w64-mingw32-strip")
LINKED = {"mbedtls": "mbedTLS", "libuv1": "libuv", "cjson": "cJSON"}  # source package: name


def file(path):
    with open(os.path.join(TOP, path), "rb") as f:
        return f.read()


def stripped(exe):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "sapair.exe")
        subprocess.run([STRIP, "--preserve-dates", "--strip-all", "-o", out, exe], check=True)
        return file(out)


def licence(package):
    """Returns the licence of a linked library, from its source package."""
    found = glob.glob(os.path.join(TOP, "build", "deps", "src", package + "_*.orig.tar.*"))
    if len(found) != 1:
        sys.exit("build/deps/src has %d sources of %s instead of 1: run make windows" % (len(found), package))
    with tarfile.open(found[0]) as tar:
        for member in tar:
            if member.name.count("/") <= 1 and os.path.basename(member.name) == "LICENSE":
                return tar.extractfile(member).read()
    sys.exit("%s has no LICENSE" % found[0])


def contents(exe):
    yield "sapair.exe", stripped(exe)
    yield "Install-Sapair.ps1", file("scripts/Install-Sapair.ps1").replace(b"\n", b"\r\n")
    yield "sapair.example.json", file("docs/examples/minimal.json")
    for name in ("README.md", "CHANGELOG.md", "LICENSE"):
        yield name, file(name)
    for pattern in ("docs/*.md", "docs/examples/*", "docs/schema/*.json"):
        for path in sorted(glob.glob(os.path.join(TOP, pattern))):
            yield os.path.relpath(path, TOP).replace(os.sep, "/"), file(path)
    for package, name in sorted(LINKED.items()):
        yield "licences/%s.txt" % name, licence(package)


def main():
    exe, version, folder = sys.argv[1], sys.argv[2], (sys.argv[3:] or [os.path.join(TOP, "build")])[0]
    base = "sapair-" + version
    files = list(contents(exe))
    sums = "".join("%s  %s\n" % (hashlib.sha256(data).hexdigest(), name) for name, data in files)
    files.append(("SHA256SUMS", sums.encode()))
    path = os.path.join(folder, base + "-windows-x64.zip")
    with zipfile.ZipFile(path, "w") as z:
        for name, data in files:
            info = zipfile.ZipInfo("%s/%s" % (base, name), WHEN)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            z.writestr(info, data)
    print(os.path.relpath(path))


if __name__ == "__main__":
    main()
