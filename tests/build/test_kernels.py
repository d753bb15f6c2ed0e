#!/usr/bin/env python3
"""scripts/kernels.sh and the table of tests/run.py --kernels where a kernel is not available."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.lab import Lab
from harness.tap import Skip, check, equal, has, main, need_tools, test

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


NOBODY = "http://127.0.0.1:9/debian"  # nothing listens there


def kernels(lab, *words, **env):
    env = dict(os.environ, SAPAIR_KERNELS=lab.path("cache"), LC_ALL="C", **env)
    p = subprocess.run(["scripts/kernels.sh", *words], cwd=ROOT, env=env, capture_output=True, text=True)
    return p.returncode, p.stdout, p.stderr


def unavailable(lab, part, name="6.12", **env):
    rc, out, err = kernels(lab, "get", name, **env)
    equal((rc, out, len(err.splitlines())), (77, "", 1), "status, output and lines of: %s" % err)
    has(err, part)


def bin_without(lab, *tools):
    """A folder of links to this machine's programs except these."""
    folder = lab.path("bin-without-" + "-".join(tools))
    os.makedirs(folder)
    for path in ("/usr/sbin", "/sbin", "/usr/bin", "/bin"):
        for name in os.listdir(path):
            if name not in tools and not os.path.lexists(os.path.join(folder, name)):
                os.symlink(os.path.join(path, name), os.path.join(folder, name))
    return folder


def with_patchelf(lab):
    """A PATH on which patchelf is: the tests end before the script runs it."""
    os.makedirs(lab.path("bin"))
    lab.write("bin/patchelf", "#!/bin/false\n", 0o755)
    return lab.path("bin") + ":" + os.environ["PATH"]


@test
def a_kernel_that_cannot_be_had_is_one_line_with_the_reason(lab):
    need_tools(apt_get="apt")
    unavailable(lab, "has no apt-get", PATH=bin_without(lab, "apt-get"))
    unavailable(lab, "no /nonexistent: install debian-archive-keyring", DEBIAN_KEYRING="/nonexistent", DEBIAN_ARCHIVE=NOBODY)
    if not os.path.exists("/usr/share/keyrings/debian-archive-keyring.gpg"):
        raise Skip("no debian-archive-keyring")
    # The script adds /usr/sbin to PATH, where patchelf is not.
    unavailable(lab, "missing: install patchelf", PATH=bin_without(lab, "patchelf"), DEBIAN_ARCHIVE=NOBODY)
    unavailable(lab, "no package lists of trixie: ", PATH=with_patchelf(lab), DEBIAN_ARCHIVE=NOBODY)


@test
def package_lists_without_a_valid_signature_are_an_error(lab):
    need_tools(apt_get="apt")
    if not os.path.exists("/usr/share/keyrings/debian-archive-keyring.gpg"):
        raise Skip("no debian-archive-keyring")
    os.makedirs(lab.path("debian/dists/trixie/main/binary-amd64"))
    lab.write("debian/dists/trixie/main/binary-amd64/Packages", "", 0o644)
    lab.write("debian/dists/trixie/Release", "Suite: trixie\nCodename: trixie\nComponents: main\nArchitectures: amd64\n", 0o644)
    rc, out, err = kernels(lab, "get", "6.12", PATH=with_patchelf(lab), DEBIAN_ARCHIVE="file:" + lab.path("debian"))
    equal((rc, out), (1, ""), "unsigned lists: %s" % err)
    has(err, "not signed")


@test
def an_unknown_kernel_or_verb_is_an_error(lab):
    rc, out, err = kernels(lab, "get", "5.10")
    equal((rc, out), (1, ""), "status and output")
    has(err, "6.1 6.12 7.x smp")
    equal(kernels(lab, "frob")[0], 2, "status of an unknown verb")
    equal(kernels(lab, "list"), (0, "6.1:\n6.12:\n7.x:\nsmp:\n", ""), "an empty cache")


@test
def the_table_counts_kernels_that_cannot_be_had_as_skipped(lab):
    need_tools(apt_get="apt")
    env = dict(os.environ, SAPAIR_KERNELS=lab.path("cache"), DEBIAN_KEYRING="/nonexistent", DEBIAN_ARCHIVE=NOBODY)
    words = [sys.executable, "-B", "tests/run.py", "--kernels", "6.1,7.x"]
    p = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)
    equal((p.returncode, p.stderr), (0, ""), "exit status and stderr: %s" % p.stdout)
    lines = p.stdout.splitlines()
    equal(len(lines), 6, "lines of\n%s" % p.stdout)
    for line, name in zip(lines, ("6.1", "7.x")):
        check(line.startswith(name) and "skipped: no /nonexistent" in line, line)
    equal([line.split() for line in lines[2:5]],
          [["kernel", "passed", "failed", "skipped"], ["6.1", "0", "0", "1"], ["7.x", "0", "0", "1"]], "table")
    equal(lines[5], "0 passed, 0 failed", "closing line")


if __name__ == "__main__":
    main(Lab)
