#!/usr/bin/env python3
"""The Debian package: its contents, that it is reproducible, and that lintian has no findings."""

import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.settings import ROOT, SAPAIR
from harness.tap import check, equal, main, need_tools, test


def make(folder):
    r = subprocess.run([os.path.join(ROOT, "scripts", "make-deb.sh")], capture_output=True, text=True,
                       env=dict(os.environ, SAPAIR=SAPAIR, VERSION="0.1.0", OUT=folder))
    check(r.returncode == 0, "make-deb.sh: %s%s" % (r.stdout, r.stderr))
    return r.stdout.strip()


@test
def the_package_has_all_and_lintian_is_content():
    need_tools(dpkg_deb="dpkg", dpkg_shlibdeps="dpkg-dev")
    with tempfile.TemporaryDirectory() as folder:
        deb = make(folder)
        with open(deb, "rb") as f:
            first = f.read()
        names = subprocess.run(["dpkg-deb", "-c", deb], capture_output=True, text=True).stdout
        for name in ("./usr/bin/sapair", "./usr/share/man/man1/sapair.1.gz",
                     "./usr/share/man/man5/sapair.json.5.gz", "./usr/share/man/man7/sapair-protocol.7.gz",
                     "./usr/share/bash-completion/completions/sapair",
                     "./usr/share/doc/sapair/copyright", "./usr/share/doc/sapair/schema/config.json"):
            check(name + "\n" in names, "no %s in the package" % name)
        subprocess.run(["dpkg-deb", "-x", deb, os.path.join(folder, "x")], check=True)
        r = subprocess.run([os.path.join(folder, "x", "usr/bin/sapair"), "version"], capture_output=True)
        equal(r.returncode, 0, "sapair version out of the package")
        make(folder)
        with open(deb, "rb") as f:
            check(f.read() == first, "the package is another one the second time")
        if shutil.which("lintian"):
            r = subprocess.run(["lintian", "--fail-on", "error,warning", "--allow-root", deb],
                               capture_output=True, text=True)
            equal((r.returncode, r.stdout), (0, ""), "lintian")


@test
def make_install_puts_all_below_its_prefix():
    with tempfile.TemporaryDirectory() as folder:
        # What is built is not built again here.
        r = subprocess.run(["make", "-s", "-o", "build/linux/sapair", "install", "DESTDIR=" + folder,
                            "PREFIX=/opt/x"], cwd=ROOT, capture_output=True, text=True)
        equal(r.returncode, 0, "make install: %s%s\nexit status" % (r.stdout, r.stderr))
        at = os.path.join(folder, "opt", "x")
        found = sorted(os.path.relpath(os.path.join(d, f), folder) for d, _, fs in os.walk(folder) for f in fs)
        equal(found, sorted("opt/x/" + f for f in (
            "bin/sapair", "share/man/man1/sapair.1", "share/man/man5/sapair.json.5",
            "share/man/man7/sapair-protocol.7", "share/bash-completion/completions/sapair",
            "share/zsh/site-functions/_sapair", "share/fish/vendor_completions.d/sapair.fish",
            "lib/systemd/system/sapair.service", "lib/systemd/system/sapair-close.service")), "files")
        r = subprocess.run([os.path.join(at, "bin", "sapair"), "version"], capture_output=True)
        equal(r.returncode, 0, "sapair version where it was installed")
        with open(os.path.join(at, "lib/systemd/system/sapair.service")) as f:
            check("ExecStart=/opt/x/bin/sapair" in f.read(), "the unit names another place")


if __name__ == "__main__":
    main()
