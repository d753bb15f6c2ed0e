#!/usr/bin/env python3
"""Runs the test suites and adds up their results.

    tests/run.py                     every suite, as `make test` does after building
    tests/run.py unit soft           these only
    tests/run.py --list              the suites and the programs of each
    tests/run.py --build DIR ...     programs from DIR instead of build/linux
    tests/run.py --kernels 6.1,7.x   the suite kernel on each of these kernels (scripts/kernels.sh)

A suite is a list of programs that print TAP. The output is one line for each suite, all output of each
program that failed, and at the end `N passed, N failed`; the exit status is 1 if a test failed. A program
that crashes, hangs, prints no test or fewer than it planned counts as one more failure.

Two suites run in parallel; those that measure time run alone, with two programs at a time.
"""

import argparse
import concurrent.futures
import glob
import os
import re
import signal
import subprocess
import sys
import threading
import time

SAN = "address,undefined"
FUZZ = "fuzzer-no-link," + SAN
FUZZ_SECONDS = "3"  # for each target; `make fuzz` takes longer
SAN_ENV = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
LINT = ["lint-format", "lint-tidy", "lint-cppcheck", "lint-layers", "lint-shell"]


class Job:
    """One program: prints TAP, or, when it is a check, is itself one test."""

    def __init__(self, label, argv, env=None, check=False):
        self.label, self.argv, self.env, self.check = label, argv, env or {}, check


class Suite:
    def __init__(self, name, jobs, timeout, alone=False, lanes=1):
        self.name, self.jobs, self.timeout, self.alone = name, jobs, timeout, alone
        self.lanes = lanes  # so many programs at once


class Result:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.output = []  # of programs that failed, and reasons of skipped tests
        self.seconds = 0.0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.output += other.output


def programs(pattern, build, where="", env=None):
    jobs = []
    for source in sorted(glob.glob(pattern)):
        if source.endswith("_win.c") and not build.startswith("build/win"):
            continue
        name = os.path.splitext(os.path.basename(source))[0]
        jobs.append(Job(name, [os.path.join(build, where, name)], env))
    return jobs


def scripts(pattern, build, env=None):
    env = dict(env or {}, SAPAIR=os.path.abspath(os.path.join(build, "sapair")))
    return [
        Job(os.path.basename(f), [sys.executable, "-B", f], env) for f in sorted(glob.glob(pattern))
    ]


def sim(build, args, env=None):
    if not glob.glob("tests/sim/*.c"):
        return []
    return [Job("sim", [os.path.join(build, "sim")] + args, env)]


def fuzz(build):
    jobs = []
    for job in programs("tests/fuzz/fuzz_*.c", build, env=SAN_ENV):
        name = job.label[len("fuzz_"):]
        job.argv = ["scripts/fuzz.sh", build, name, FUZZ_SECONDS]
        job.check = True
        jobs.append(job)
    return jobs


def all_suites(build):
    san, clang = "build/linux-" + SAN, "build/linux-clang"
    san_env = dict(SAN_ENV, SAPAIR_SAN="1")
    make = os.environ.get("MAKE", "make")
    suites = [  # the longest first: what is short fills the gaps
        Suite("lint", [Job(t, [make, "-k", "-s", t], None, True) for t in LINT], 1800),
        Suite("sim", sim(build, []), 600),
        Suite("unit", programs("tests/unit/test_*.c", build), 60),
        Suite("unit-san", programs("tests/unit/test_*.c", san, env=SAN_ENV), 180),
        Suite("unit-clang", programs("tests/unit/test_*.c", clang), 60),
        Suite("agent", programs("tests/agent/test_*.c", build, "tests/agent"), 120),
        Suite("agent-san", programs("tests/agent/test_*.c", san, "tests/agent", SAN_ENV), 240),
        Suite("sim-san", sim(san, ["--short"], SAN_ENV), 600),
        Suite("fuzz", fuzz("build/linux-clang-" + FUZZ), 120),
        Suite("model", scripts("tests/model/test_*.py", build), 240),
        Suite("fault", scripts("tests/fault/test_*.py", build), 240),
        Suite("build", scripts("tests/build/test_*.py", build), 240),
        Suite("docs", scripts("tests/docs/test_*.py", build), 240),
        Suite("kernel", scripts("tests/kernel/test_*.py", build), 300, alone=True, lanes=2),
        Suite("windows", scripts("tests/windows/test_*.py", build), 300, alone=True, lanes=2),
        Suite("soft", scripts("tests/soft/test_*.py", build), 300, alone=True, lanes=2),
        Suite("soft-san", scripts("tests/soft/test_*.py", san, san_env), 300, alone=True, lanes=2),
    ]
    return [s for s in suites if s.jobs]


class Unavailable(Exception):
    """This machine cannot have what is asked for."""


def kernel_suite(name, build):
    """The suite kernel on a kernel of scripts/kernels.sh, which fetches or builds it now."""
    said = []
    with subprocess.Popen(["scripts/kernels.sh", "get", name], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            said.append(line)
            if line.startswith("kernels: building"):
                print(line, end="", flush=True)
        folder = process.stdout.read().strip()
    if process.returncode == 77:
        raise Unavailable(said[-1].strip().replace("kernels: ", "", 1))
    if process.returncode != 0:
        raise RuntimeError("".join(said) + "scripts/kernels.sh ended with status %d" % process.returncode)
    env = {"SAPAIR_UML": folder}
    lanes = 2
    if name == "smp":
        env["SAPAIR_UML_CPUS"], lanes = "2", 1
    jobs = scripts("tests/kernel/test_*.py", build, env)
    return Suite(name, jobs, 300, alone=True, lanes=lanes)


def run_kernels(names, build):
    """Ends with a table, a line for each kernel, and the sum."""
    rows = []
    for name in names:
        result = Result()
        try:
            suite = kernel_suite(name, build)
            result = run_suite(suite)
            report(suite, result)
        except Unavailable as why:
            result.skipped = 1
            print("%-11s skipped: %s" % (name, why))
        except RuntimeError as why:
            result.failed = 1
            print("%-11s no kernel:\n%s" % (name, why))
        sys.stdout.flush()
        rows.append((name, result))
    print("%-11s %6s %6s %7s" % ("kernel", "passed", "failed", "skipped"))
    for name, r in rows:
        print("%-11s %6d %6d %7d" % (name, r.passed, r.failed, r.skipped))
    failed = sum(r.failed for _, r in rows)
    print("%d passed, %d failed" % (sum(r.passed for _, r in rows), failed))
    return 1 if failed else 0


# --- running ---------------------------------------------------------------------------------

running = set()
running_lock = threading.Lock()


def kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)  # it leads a group of its own
    except ProcessLookupError:
        pass


def run_program(job, timeout):
    """Returns its output, its exit status, and whether it took too long."""
    env = dict(os.environ, LC_ALL="C.UTF-8", **job.env)
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        env.pop(name, None)
    process = subprocess.Popen(
        job.argv,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    with running_lock:
        running.add(process)
    late = False
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        late = True
        kill_group(process)
        output, _ = process.communicate()
    finally:
        kill_group(process)  # what it left behind
        with running_lock:
            running.discard(process)
    return output.decode("utf-8", "replace"), process.returncode, late


def run_job(job, timeout, result):
    try:
        output, status, late = run_program(job, timeout)
    except OSError as error:
        output, status, late = str(error) + "\n", 127, False

    passed = failed = skipped = 0
    plan = None
    reasons = []
    if job.check:
        skip = re.search(r"^SKIP\b.*", output, re.M)
        if status != 0 or late:
            failed = 1
        elif skip:
            skipped = 1
            reasons.append("%s: %s" % (job.label, skip.group(0)))
        else:
            passed = 1
    else:
        for line in output.splitlines():
            m = re.match(r"1\.\.(\d+)", line)
            if m:
                plan = int(m.group(1))
                if plan == 0 and "SKIP" in line.upper():
                    skipped += 1
                    reasons.append("%s: %s" % (job.label, line))
            elif re.match(r"not ok\b", line):
                failed += 1
            elif re.match(r"ok\b", line):
                m = re.search(r"#\s*SKIP\b.*", line, re.I)
                if m:
                    skipped += 1
                    reasons.append("%s: %s" % (job.label, line))
                else:
                    passed += 1

    why = None
    if late:
        why = "took longer than %d s and was ended" % timeout
    elif status < 0:
        why = "was ended by %s" % signal.Signals(-status).name
    elif status != 0 and failed == 0:
        why = "ended with status %d" % status
    elif passed + failed + skipped == 0:
        why = "printed no test"
    elif plan and plan != passed + failed + skipped:
        why = "planned %d tests and printed %d" % (plan, passed + failed + skipped)
    if why and not (job.check and failed):
        failed += 1

    result.passed += passed
    result.failed += failed
    result.skipped += skipped
    if failed:
        env = "".join("%s=%s " % (k, v) for k, v in sorted(job.env.items()))
        text = "---- %s%s\n%s" % (env, " ".join(job.argv), output)
        if not text.endswith("\n"):
            text += "\n"
        if why:
            text += "---- %s %s\n" % (job.label, why)
        result.output.append(text)
    result.output += ["  skipped: %s\n" % reason for reason in reasons]


def run_suite(suite):
    result = Result()
    start = time.monotonic()

    def one(job):
        part = Result()
        run_job(job, suite.timeout, part)
        return part

    with concurrent.futures.ThreadPoolExecutor(max_workers=suite.lanes) as pool:
        for part in pool.map(one, suite.jobs):
            result.add(part)
    result.seconds = time.monotonic() - start
    return result


def report(suite, result):
    skipped = ", %d skipped" % result.skipped if result.skipped else ""
    print(
        "%-11s %4d ok, %d not ok%s  (%.1f s)"
        % (suite.name, result.passed, result.failed, skipped, result.seconds)
    )
    sys.stdout.write("".join(result.output))
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("suite", nargs="*")
    parser.add_argument("--build", default="build/linux", help="folder of the programs")
    parser.add_argument("--kernels", metavar="NAME,...", help="the suite kernel on each of these")
    parser.add_argument("--list", action="store_true", help="only list the suites")
    args = parser.parse_args()
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    sys.stdout.reconfigure(errors="backslashreplace")

    if args.kernels:
        return run_kernels(args.kernels.split(","), args.build)
    suites = all_suites(args.build)
    unknown = set(args.suite) - {s.name for s in suites}
    if unknown:
        parser.error("no such suite, or nothing in it: " + " ".join(sorted(unknown)))
    if args.suite:
        suites = [s for s in suites if s.name in args.suite]
    if args.list:
        for s in suites:
            print("%-11s %s" % (s.name, " ".join(j.label for j in s.jobs)))
        return 0

    total = Result()
    done = []

    def finish(suite, result):
        report(suite, result)
        done.append(suite)
        total.passed += result.passed
        total.failed += result.failed
        total.skipped += result.skipped

    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        waiting = {pool.submit(run_suite, s): s for s in suites if not s.alone}
        try:
            for future in concurrent.futures.as_completed(waiting):
                finish(waiting[future], future.result())
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            with running_lock:
                for process in running:
                    kill_group(process)
            return 130
    for suite in suites:
        if suite.alone:
            finish(suite, run_suite(suite))

    skipped = ", %d skipped" % total.skipped if total.skipped else ""
    print("%d passed, %d failed%s" % (total.passed, total.failed, skipped))
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
