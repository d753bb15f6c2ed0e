"""Marks tests, runs them, and prints TAP.

A test is a function marked @test whose name is a sentence. It gets a fresh fixture, or no argument if
main() has none. A fixture's close(failed) releases everything and returns (faults, text for a failure).

    python3 tests/soft/test_pairing.py [WORD ...]    tests whose name contains a WORD
    JOBS=1                                           one test at a time
"""

import concurrent.futures
import inspect
import os
import shutil
import signal
import sys
import time
import traceback

from harness import settings


class Failure(AssertionError):
    """The test has failed."""


class Skip(Exception):
    """The test cannot be run; the text is the reason."""


# --- assertions ----------------------------------------------------------------------------------


def check(condition, text):
    if not condition:
        raise Failure(text)


def equal(got, wanted, what):
    """For dicts, and lists of equal length, the message has only the members that differ."""
    if got == wanted:
        return
    if isinstance(got, dict) and isinstance(wanted, dict):
        lines = ["%s: %r: %r, wanted %r" % (what, k, got.get(k), wanted.get(k))
                 for k in sorted(set(got) | set(wanted), key=str) if got.get(k) != wanted.get(k)]
    elif isinstance(got, list) and isinstance(wanted, list) and len(got) == len(wanted):
        lines = ["%s: %r, wanted %r" % (what, a, b) for a, b in zip(got, wanted) if a != b]
    else:
        lines = ["%s: %r, wanted %r" % (what, got, wanted)]
    raise Failure("\n".join(lines))


def has(text, part, what="text"):
    if part not in text:
        raise Failure("%s lacks %r:\n%s" % (what, part, text))


def need_tools(**packages):
    """Skips the test unless all tools are installed: need_tools(tshark="tshark", ip="iproute2")."""
    tools = {name.replace("_", "-"): package for name, package in packages.items()}
    missing = {name: package for name, package in tools.items() if not shutil.which(name)}
    if missing:
        raise Skip("no %s: install %s" % (", ".join(missing), ", ".join(sorted(set(missing.values())))))


def need_root():
    """Skips the test unless this process is root."""
    if os.geteuid() != 0:
        raise Skip("needs root")


default_limit_s = settings.LIMIT


def set_default_limit(seconds):
    """Sets the default time limit, for suites on slow machines."""
    global default_limit_s
    default_limit_s = seconds


def until(look, what, limit=None):
    """Calls look() until it returns a true value; returns that value."""
    limit = default_limit_s if limit is None else limit
    end = time.monotonic() + limit
    pause = 0.005
    while True:
        last = look()
        if last:
            return last
        if time.monotonic() > end:
            raise Failure("%s: not within %.1f s; last value %r" % (what, limit, last))
        time.sleep(pause)
        pause = min(pause * 1.3, 0.05)


# --- running -------------------------------------------------------------------------------------

tests = []


def test(function=None, *, alone=False, name=None):
    """Marks a test. alone: no other test runs at the same time, because it measures time or loads the machine."""

    def mark(f):
        tests.append(((name or f.__name__).replace("_", " "), f, alone))
        return f

    return mark if function is None else mark(function)


def run_one(function, fixture):
    """Text to print under "not ok", None for a success, or a Skip."""
    context, text = None, None
    faults, logs = [], ""
    try:
        if fixture and inspect.signature(function).parameters:
            context = fixture()
            function(context)
        else:
            function()
    except Skip as skip:
        if context:
            context.close(False)
        return skip
    except Failure as failure:
        text = traceback.format_exc() if context else "%s\n" % failure
    except Exception:
        text = traceback.format_exc()
    if context:
        faults, logs = context.close(text is not None)
    if text is None and not faults:
        return None
    return "".join(["%s\n" % f for f in faults]) + (text or "") + logs


def report(number, title, result, seconds):
    """Prints the TAP line of one test. Returns whether it failed."""
    if isinstance(result, Skip):
        print("ok %d - %s # SKIP %s" % (number, title, result))
    else:
        print("%s %d - %s # %.1f s" % ("not ok" if result else "ok", number, title, seconds))
        for line in (result or "").splitlines():
            print("#  " + line)
    sys.stdout.flush()
    return bool(result) and not isinstance(result, Skip)


def skip_all(why):
    """Ends the program, because none of its tests can be run."""
    print("1..0 # SKIP %s" % why)
    sys.exit(0)


def main(fixture=None, jobs=None):
    """Runs the marked tests, several in parallel if they have a fixture, and ends the program."""
    words = sys.argv[1:]
    chosen = [t for t in tests if not words or any(w in t[0] or w in t[1].__name__ for w in words)]
    if not os.access(settings.SAPAIR, os.X_OK):
        sys.exit("no program %s: run make, or set SAPAIR" % settings.SAPAIR)
    sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print("1..%d" % len(chosen))
    if jobs is None:
        jobs = 1 if fixture is None else int(os.environ.get("JOBS", "3" if settings.SAN else "4"))

    def timed(function):
        start = time.monotonic()
        return run_one(function, fixture), time.monotonic() - start

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=jobs) as pool:
        running = [None if alone else pool.submit(timed, f) for _, f, alone in chosen]
        for i, future in enumerate(running):
            if future is not None:
                failed += report(i + 1, chosen[i][0], *future.result())
    for i, (title, function, alone) in enumerate(chosen):
        if alone:
            failed += report(i + 1, title, *timed(function))
    sys.exit(1 if failed else 0)
