#!/usr/bin/env python3
"""Boots user-mode Linux (UML) on a view of this machine's root file system and runs one command in it.

    tests/harness/uml.py COMMAND...    its output and its exit status

    SAPAIR_UML=FOLDER      the kernel in FOLDER (scripts/kernels.sh get NAME) instead of the packaged one
    SAPAIR_UML_CPUS=2      processors; the kernel must have been built with SMP
    SAPAIR_UML_ARGS=...    further words of the kernel's command line
    SAPAIR_KERNEL_LIMIT=s  time limit of the command in seconds

No privilege is needed. Inside, the command is root; it can read the files of this machine that the caller
can read.
"""

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SAPAIR = os.path.abspath(os.environ.get("SAPAIR", os.path.join(ROOT, "build", "linux", "sapair")))
CPUS = int(os.environ.get("SAPAIR_UML_CPUS", "1"))
BOOT_LIMIT = 60  # seconds; on a busy machine a boot occasionally hangs before its first program
CONSOLE_LINES = 25
MODULES = (
    "xfrm_algo xfrm_user esp4 esp6 gcm ccm seqiv echainiv authenc authencesn cbc ctr hmac "
    "ghash-generic sha1_generic sha256_generic sha512_generic veth bridge sch_netem"
)
# From this version on, kernels query the size of the floating-point state; older ones need fpregs.so.
ASKS_FOR_SIZE = (6, 13)
HAS_IO_URING_SWITCH = (6, 6)

INIT = """#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/tmp /run/m/lib
ln -s {modules} /run/m/lib/modules
printf '#!/bin/sh\\nexec modprobe -d /run/m "$@"\\n' >/run/m/probe; chmod +x /run/m/probe
echo /run/m/probe >/proc/sys/kernel/modprobe
modprobe -d /run/m -q -a {names} 2>/dev/null
ip link set lo up
{python} {here} --seed {work}/seed
cd {cwd}
export TMPDIR=/run/tmp SAPAIR_KERNEL=uml {env}
echo >{work}/begun
{command} >{work}/out 2>&1 </dev/null
echo $? >{work}/rc
echo o >/proc/sysrq-trigger
sleep 5
"""


class Kernel:
    """One user-mode Linux: its program, its modules, its version as a tuple of two numbers."""

    def __init__(self):
        folder = os.environ.get("SAPAIR_UML")
        if folder:
            self.program = shutil.which(os.path.join(folder, "linux.uml"))
            trees = [os.path.join(folder, "modules")]
        else:
            self.program = shutil.which("linux.uml")
            trees = ["/usr/lib/uml/modules", "/lib/modules"]
        self.modules = next(filter(os.path.isdir, trees), None)
        self.release = ""
        if self.program:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                self.release = subprocess.run(
                    [self.program, "--version"], capture_output=True, text=True, timeout=20
                ).stdout.strip()
        m = re.match(r"(\d+)\.(\d+)", self.release)
        self.version = (int(m.group(1)), int(m.group(2))) if m else (0, 0)

    def missing(self):
        """The reason why this machine cannot boot it, in one line, or None."""
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        tools = [
            (tool, package)
            for tool, package in (
                ("modprobe", "kmod"), ("ip", "iproute2"), ("ping", "iputils-ping"),
                ("nsenter", "util-linux"), ("bash", "bash"),
            )
            if shutil.which(tool, path=path) is None
        ]
        if self.program is None:
            tools.insert(0, ("linux.uml", "user-mode-linux"))
        if tools:
            return "no %s: install %s" % tuple(", ".join(names) for names in zip(*tools))
        if self.modules is None:
            return "no modules for %s" % self.program
        if self.preload() and not os.path.exists(self.preload()):
            return "no %s: run make programs" % self.preload()
        return None

    def preload(self):
        """The library that this kernel needs on the host, or None."""
        return preload("fpregs") if self.version < ASKS_FOR_SIZE else None

    def words(self):
        words = ["sysctl.kernel.panic_on_oops=1"]
        # UML panics ("Bad page map") when a program maps an io_uring.
        if self.version >= HAS_IO_URING_SWITCH:
            words.append("sysctl.kernel.io_uring_disabled=2")
        if CPUS > 1:
            words += ["seccomp=on", "ncpus=%d" % CPUS]
        return words + os.environ.get("SAPAIR_UML_ARGS", "").split()


def preload(name):
    return os.path.join(os.path.dirname(SAPAIR), "tests/kernel/preload", name + ".so")


class Outcome:
    """The result of a run. rc: the command's exit status, or None with the reason in trouble (one line);
    text: the command's output; console: the kernel's last lines."""

    def __init__(self, rc, text, console, trouble, begun):
        self.rc, self.text, self.console, self.trouble, self.begun = rc, text, console, trouble, begun

    def report(self):
        """trouble and console, as lines of a TAP comment."""
        lines = ["%s; its console:" % self.trouble] + (self.console.splitlines() or ["(empty)"])
        return "".join("# %s\n" % line for line in lines)


@contextlib.contextmanager
def own_cpus(count):
    """Processors of this machine for one kernel. Unpinned, each system call costs several times more, and two
    kernels on one processor delay each other."""
    cpus = sorted(os.sched_getaffinity(0), reverse=True)
    with contextlib.ExitStack() as stack:
        mine = set()
        for cpu in cpus:
            path = os.path.join(tempfile.gettempdir(), "sapair-uml-%d-%d" % (os.getuid(), cpu))
            f = stack.enter_context(open(path, "w"))
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine.add(cpu)
            if len(mine) == count:
                break
        yield mine if len(mine) == count else set(cpus[:count])


def boot(command, limit=None, memory=512, follow=None, init=INIT, preloads=None):
    """Runs the command inside; returns an Outcome. follow is called with the path of the output and its last
    result, several times a second. preloads replaces the libraries that the kernel needs."""
    limit = limit or int(os.environ.get("SAPAIR_KERNEL_LIMIT", "280"))
    kernel = Kernel()
    if preloads is None:
        preloads = [kernel.preload()] if kernel.preload() else []
    with own_cpus(CPUS) as cpus:
        for _ in range(2):
            outcome = boot_once(kernel, cpus, command, limit, memory, follow, init, preloads)
            if outcome.begun or outcome.trouble != STOPPED:
                break
    return outcome


STOPPED = "user-mode Linux did not start its first program in %d s" % BOOT_LIMIT


def write_init(init, kernel, command, work):
    words = [
        "%s=%s" % (k, shlex.quote(v))
        for k, v in os.environ.items()
        if k.startswith("SAPAIR") and k != "SAPAIR_KERNEL" or k == "JOBS"
    ]
    path = os.path.join(work, "init")
    with open(path, "w") as f:
        f.write(
            init.format(
                python=sys.executable, here=os.path.abspath(__file__), modules=kernel.modules,
                names=os.environ.get("SAPAIR_KERNEL_MODULES", MODULES), cwd=shlex.quote(ROOT), work=work,
                env=" ".join(words), command=" ".join(map(shlex.quote, command)),
            )
        )
    os.chmod(path, 0o755)
    with open(os.path.join(work, "seed"), "wb") as f:
        f.write(os.urandom(256))
    return path


def read(work, name):
    with contextlib.suppress(FileNotFoundError):
        with open(os.path.join(work, name), errors="replace") as f:
            return f.read()
    return ""


def boot_once(kernel, cpus, command, limit, memory, follow, init, preloads):
    work = tempfile.mkdtemp(prefix="sapair-uml-", dir=os.environ.get("TMPDIR", "/tmp"))
    argv = [
        kernel.program, "mem=%dM" % memory, "rootfstype=hostfs", "rootflags=/", "rw",
        "init=" + write_init(init, kernel, command, work), "umid=sapair%d" % os.getpid(),
        "con=null", "con0=null,fd:1", "quiet",
    ] + kernel.words()
    # Its memory is a file in TMPDIR. On a disk, writeback stops the kernel for seconds.
    env = dict(os.environ, TMPDIR="/dev/shm" if os.access("/dev/shm", os.W_OK) else work, HOME=work)
    if preloads:
        env["LD_PRELOAD"] = ":".join(preloads)
    with open(os.path.join(work, "console"), "wb") as console:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
            cwd=work, preexec_fn=lambda: os.sched_setaffinity(0, cpus), env=env,
        )
    try:
        trouble = wait(process, work, limit, follow)
        begun = os.path.exists(os.path.join(work, "begun"))
        rc = read(work, "rc").strip()
        if rc:
            trouble = None
        elif trouble is None:
            trouble = "user-mode Linux %s %s %s" % (
                kernel.release, died(process.returncode),
                "before the end of the command" if begun else "before its first program",
            )
        console = last_lines(read(work, "console"))
        return Outcome(int(rc) if rc else None, read(work, "out"), console, trouble, begun)
    finally:
        kill(process)
        shutil.rmtree(work, ignore_errors=True)


def last_lines(console):
    """The lines of a panic, else the last lines."""
    lines = console.replace("\r", "").splitlines()
    panics = [i for i, line in enumerate(lines) if "Kernel panic" in line]
    return "\n".join(lines[panics[0] :][:CONSOLE_LINES] if panics else lines[-CONSOLE_LINES:])


def died(status):
    if status is None:
        return "panicked"
    return "was killed by %s" % signal.Signals(-status).name if status < 0 else "exited with status %d" % status


def kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait(process, work, limit, follow):
    """Waits until the kernel ends or panics. Returns None, or a line if a limit was exceeded."""
    start, at, panic = time.monotonic(), None, None
    while process.poll() is None:
        now = time.monotonic()
        if now > start + limit:
            return "user-mode Linux did not exit in %d s" % limit
        if now > start + BOOT_LIMIT and not os.path.exists(os.path.join(work, "begun")):
            return STOPPED
        if panic is None and "Kernel panic" in read(work, "console"):
            panic = now
        if panic is not None and now > panic + 2:
            break  # all its output is complete
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
        if follow:
            at = follow(os.path.join(work, "out"), at)
    if follow:
        follow(os.path.join(work, "out"), at)
    return None


def show(path, at):
    """Prints the text that was added to a file since the last call."""
    with contextlib.suppress(FileNotFoundError), open(path, errors="replace") as f:
        f.seek(at or 0)
        sys.stdout.write(f.read())
        sys.stdout.flush()
        return f.tell()
    return at


def run_this_program():
    """Runs the importing program again in user-mode Linux; does not return."""
    why = Kernel().missing()
    if why:
        print("1..0 # SKIP %s" % why)
        sys.exit(0)
    outcome = boot([sys.executable, "-B", os.path.abspath(sys.argv[0])] + sys.argv[1:], follow=show)
    if outcome.rc is None:
        print("not ok 9999 - %s\n%s" % (outcome.trouble, outcome.report()), end="")
        sys.exit(1)
    sys.exit(outcome.rc)


def seed(path):
    """Seeds the random generator of a kernel after its boot: otherwise a process that needs random numbers
    waits for a minute."""
    with open(path, "rb") as f, open("/dev/random", "wb", buffering=0) as random:
        data = f.read()
        fcntl.ioctl(random, 0x40085203, struct.pack("=ii", 8 * len(data), len(data)) + data)
        fcntl.ioctl(random, 0x5207)


def main():
    if sys.argv[1:2] == ["--seed"]:
        seed(sys.argv[2])
        return 0
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    why = Kernel().missing()
    if why:
        print("uml.py: " + why, file=sys.stderr)
        return 1
    outcome = boot(sys.argv[1:], follow=show)
    if outcome.rc is None:
        sys.stderr.write(outcome.report())
        return 1
    return outcome.rc


if __name__ == "__main__":
    sys.exit(main())
