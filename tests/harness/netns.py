"""Hosts as network namespaces, and commands in them."""

import subprocess

from harness.tap import check

HOSTS = {"alpha": 1, "beta": 2, "gamma": 3}


def v4(host):
    return "10.9.0.%d" % HOSTS[host]


def v6(host):
    return "fd09::%d" % HOSTS[host]


def sh(*words, host=None, ok=True, text=None):
    """Runs a command, in a host or in this namespace; returns its output."""
    argv = (inside(host) if host else []) + [str(w) for w in words]
    p = subprocess.run(argv, input=text, capture_output=True, text=True)
    check(not ok or p.returncode == 0, "%s: %d %s%s" % (argv, p.returncode, p.stdout, p.stderr))
    return p.stdout


def inside(host):
    """The words before a command line that run it in a host."""
    return ["nsenter", "--net=/run/netns/" + host]


def batch(lines, netns=None):
    """Runs lines with `ip -batch`, in a network namespace."""
    words = ["ip"] + (["-n", netns] if netns else []) + ["-batch", "-"]
    p = subprocess.run(words, input="\n".join(lines), capture_output=True, text=True)
    check(p.returncode == 0, "%s: %s\n%s" % (words, p.stderr, "\n".join(lines)))
