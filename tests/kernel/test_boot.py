#!/usr/bin/env python3
"""How the kernel suite boots user-mode Linux: on a host with a larger floating-point state, and what it
says of a kernel that dies. These tests run on this machine and start a kernel each."""

import ctypes
import os
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import uml
from harness.lab import Lab
from harness.settings import ROOT
from harness.tap import Skip, check, equal, has, main, skip_all, test

HERE = os.path.dirname(os.path.abspath(__file__))

KERNEL = uml.Kernel()
XSTATE = 0x202
GETREGSET, SETREGSET = 0x4204, 0x4205
ATTACH, DETACH = 16, 17


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


def exchange_registers():
    """Run with libraries preloaded: reads the registers of a stopped process into a buffer of the size that this
    processor has, changes one, and writes them back. Prints the size, the result and whether the change arrived."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.restype, ptrace.argtypes = ctypes.c_long, [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    child = subprocess.Popen(["sleep", "60"])
    try:
        equal(ptrace(ATTACH, child.pid, None, None), 0, "PTRACE_ATTACH")
        os.waitpid(child.pid, 0)
        area = ctypes.create_string_buffer(65536)

        def call(request, size):
            v = Iovec(ctypes.addressof(area), size)
            rc = ptrace(request, child.pid, XSTATE, ctypes.addressof(v))
            return (rc, ctypes.get_errno()) if rc else (0, v.len)

        rc, full = call(GETREGSET, 65536)
        equal(rc, 0, "PTRACE_GETREGSET")
        short = full - int(sys.argv[2])
        xmm15 = 160 + 15 * 16  # in the area that FXSAVE writes
        area[xmm15 : xmm15 + 16] = b"a register's 16B"
        area[512:520] = struct.pack("=Q", struct.unpack("=Q", area[512:520])[0] | 2)  # SSE is in use
        written = call(SETREGSET, short)
        ctypes.memset(area, 0, 65536)
        call(GETREGSET, short)
        print(full, *written, area[xmm15 : xmm15 + 16] == b"a register's 16B")
    finally:
        child.kill()
        child.wait()


def exchange(less, *libraries):
    p = subprocess.run(
        [sys.executable, "-B", os.path.abspath(__file__), "--exchange", str(less)], capture_output=True, text=True,
        env=dict(os.environ, LD_PRELOAD=":".join(map(uml.preload, libraries))),
    )
    check(p.returncode == 0, p.stderr)
    full, rc, error, same = p.stdout.split()
    return int(full), int(rc), int(error), same == "True"


@test
def registers_in_a_short_buffer_are_padded_to_the_size_of_the_host(_):
    full, rc, error, _same = exchange(0)
    equal(rc, 0, "PTRACE_SETREGSET of all")
    more, rc, error, same = exchange(8192, "large_xstate")
    equal((more - full, rc, error, same), (8192, -1, 14, False), "a short buffer without the padding")
    more, rc, _, same = exchange(8192, "fpregs", "large_xstate")
    equal((more - full, rc, same), (8192, 0, True), "a short buffer with the padding")
    _, rc, _, same = exchange(0, "fpregs")
    equal((rc, same), (0, True), "a buffer of the size of the host")


@test
def an_old_kernel_boots_on_a_host_with_a_larger_state_only_with_the_padding(_):
    if KERNEL.preload() is None:
        raise Skip("Linux %s asks the host for the size" % KERNEL.release)
    large = uml.preload("large_xstate")
    start = time.monotonic()
    got = uml.boot(["true"], preloads=[large])
    equal((got.rc, got.begun), (None, False), "without the padding")
    check(time.monotonic() - start < 20, "that took %.0f s" % (time.monotonic() - start))
    has(got.report(), "before its first program")
    print("# without: %s" % got.report().splitlines()[:3])
    got = uml.boot([sys.executable, "-c", "print(sum(1 / n for n in range(1, 1000)))"], preloads=[KERNEL.preload(), large])
    equal((got.rc, got.text), (0, "%s\n" % sum(1 / n for n in range(1, 1000))), "with it: %s" % got.trouble)


@test
def a_kernel_that_dies_is_shown_at_once_with_the_last_lines_of_its_console(_):
    start = time.monotonic()
    got = uml.boot(["sh", "-c", "echo before; echo c >/proc/sysrq-trigger; sleep 100"])
    equal((got.rc, got.begun, got.text), (None, True, "before\n"), "outcome")
    has(got.report(), "Kernel panic")
    has(got.trouble, "before the end of the command")
    got = uml.boot(["true"], init="#!/bin/sh\n# {python} {here} {modules} {names} {cwd} {work} {env} {command}\nexit 3\n")
    equal((got.rc, got.begun), (None, False), "an init that ends")
    has(got.report(), "Attempted to kill init")
    check(time.monotonic() - start < 40, "both took %.0f s" % (time.monotonic() - start))


@test
def a_file_of_tests_whose_kernel_dies_fails_and_shows_the_console(_):
    program = (
        "import sys; sys.argv[0] = sys.argv[1]; sys.path.insert(0, %r)\nfrom harness import uml; uml.run_this_program()"
        % os.path.join(ROOT, "tests")
    )
    script = os.path.join(_.dir, "dies.py")
    with open(script, "w") as f:
        f.write("open('/proc/sysrq-trigger', 'w').write('c')\n")
    p = subprocess.run([sys.executable, "-B", "-c", program, script], capture_output=True, text=True)
    equal(p.returncode, 1, "exit status")
    has(p.stdout, "not ok 9999 - user-mode Linux %s" % KERNEL.release)
    has(p.stdout, "Kernel panic")


@test
def a_missing_tool_is_one_line(_):
    env = dict(os.environ, PATH="/nonexistent")
    env.pop("SAPAIR_UML", None)
    p = subprocess.run(
        [sys.executable, "-B", os.path.join(HERE, "test_pairing.py")], capture_output=True, text=True, env=env
    )
    equal((p.returncode, p.stderr), (0, ""), "exit status and stderr")
    equal(len(p.stdout.splitlines()), 1, "lines: %s" % p.stdout)
    has(p.stdout, "1..0 # SKIP no linux.uml")
    has(p.stdout, "install user-mode-linux")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--exchange"]:
        exchange_registers()
        sys.exit(0)
    if os.environ.get("SAPAIR_KERNEL") == "own":
        skip_all("SAPAIR_KERNEL=own boots no kernel")
    if KERNEL.missing():
        skip_all(KERNEL.missing())
    main(Lab, jobs=1)
