"""Real agents on this machine, started, driven and watched by the tests beside this file.

     alpha 127.0.0.1:PORT  <-- TLS 1.3, then ESP in UDP -->  beta 127.0.0.2:PORT
     gamma 127.0.0.3:PORT      an agent, or a stranger in Python (stranger.py)

A test is a function whose name is a sentence, marked @test; it gets a Lab: a folder, a port that
nobody has, identities, agents. What it started is stopped at its end, and an agent that does not
end well, or whose log has a report of a sanitizer, fails the test. Nothing sleeps where a state
can be waited for.

    SAPAIR=build/linux/sapair python3 tests/soft/test_pairing.py [WORD ...]    tests with a WORD
    SAPAIR_SAN=1    a sanitizer build: more time, smaller numbers
    SAPAIR_WRAP="valgrind -q"    in front of each agent
    JOBS=1          one test at a time
"""

import atexit
import concurrent.futures
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
SAPAIR = os.path.abspath(
    os.environ.get("SAPAIR", os.path.join(HERE, "..", "..", "build", "linux", "sapair"))
)
TEST_SAPAIR = os.path.join(os.path.dirname(SAPAIR) + "-test", "sapair")  # with fault injection
SAN = os.environ.get("SAPAIR_SAN") == "1"
WRAP = os.environ.get("SAPAIR_WRAP", "").split()
SLOW = 4 if SAN else 1  # how much longer all may take
LIMIT = 15 * SLOW  # seconds for what should take one
REPORTS = ("Sanitizer:", "runtime error:", "Assertion")

ALPHA, BETA, GAMMA, DELTA = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"
ADDRESS = {"alpha": ALPHA, "beta": BETA, "gamma": GAMMA, "delta": DELTA}


class Failure(AssertionError):
    pass


class Skip(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failure(text)


def equal(got, wanted, what):
    if got != wanted:
        raise Failure("%s: %r, wanted %r" % (what, got, wanted))


def has(text, part, what="text"):
    if part not in text:
        raise Failure("%s lacks %r:\n%s" % (what, part, text))


def until(look, what, limit=None):
    """Calls look until it gives something true; that is returned."""
    limit = LIMIT if limit is None else limit
    end = time.monotonic() + limit
    pause = 0.005
    while True:
        last = look()
        if last:
            return last
        if time.monotonic() > end:
            raise Failure("%s: not so in %.1f s; at last %r" % (what, limit, last))
        time.sleep(pause)
        pause = min(pause * 1.3, 0.05)


# --- folders and identities, of the whole process ------------------------------------------------

store = tempfile.mkdtemp(prefix="sapair-")
store_lock = threading.Lock()
made = {}
# A Ctrl-C must not leave agents behind; neither must the runner's time limit, which kills the group.
atexit.register(shutil.rmtree, store, ignore_errors=True)


def tool(*args, limit=None, **kw):
    """One run of the program that talks to no agent."""
    return finished(
        subprocess.run(
            [SAPAIR, *args], stdin=subprocess.DEVNULL, capture_output=True,
            timeout=limit or LIMIT, **kw
        )
    )


class Result:
    def __init__(self, rc, out, err):
        self.rc, self.out, self.err = rc, out, err

    @property
    def docs(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def doc(self, schema):
        """The one document of that schema."""
        found = [d for d in self.docs if d["schema"] == "sapair.%s/1" % schema]
        check(len(found) == 1, "%d documents sapair.%s/1 in:\n%s" % (len(found), schema, self))
        return found[0]

    def __str__(self):
        return "exit %s\nstdout: %s\nstderr: %s" % (self.rc, self.out, self.err)


def finished(process):
    r = Result(
        process.returncode,
        process.stdout.decode("utf-8", "replace"),
        process.stderr.decode("utf-8", "replace"),
    )
    for report in REPORTS:
        check(report not in r.err, "a report in stderr of %s:\n%s" % (process.args, r))
    check(r.rc >= 0, "%s ended by signal %d\n%s" % (process.args, -r.rc, r))
    return r


def well(result, rc=0):
    """The result, which must have this exit status."""
    check(result.rc == rc, "wanted exit %d:\n%s" % (rc, result))
    return result


class Identity:
    def __init__(self, folder, name):
        self.cert = os.path.join(folder, name + ".crt")
        self.key = os.path.join(folder, name + ".key")
        self.ca = os.path.join(folder, "ca.crt")
        self.pin = well(tool("id", "show", self.cert, "--pin")).out.strip()


def ca(name="ca"):
    folder = os.path.join(store, name)
    with store_lock:
        if folder not in made:
            well(tool("ca", "new", "--name", name, "--dir", folder))
            made[folder] = folder
    return folder


def identity(name, *addresses, by="ca", options=()):
    """A certificate for these addresses: by default those that the host of that name has."""
    addresses = addresses or (ADDRESS[name],)
    authority = ca(by)
    key = (name, addresses, by, tuple(options))
    with store_lock:
        if key not in made:
            folder = os.path.join(store, "id%d" % len(made))
            words = [w for a in addresses for w in ("--address", a)]
            well(tool("ca", "issue", name, *words, "--dir", authority, "--out", folder, *options))
            made[key] = Identity(folder, name)
        return made[key]


# --- agents --------------------------------------------------------------------------------------


class Gone(Exception):
    """The agent closed its control socket, or has none."""


class Control:
    """One connection to an agent's control socket."""

    def __init__(self, path, limit=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(limit or 2 * LIMIT)
        self.rest = b""
        try:
            self.socket.connect(path)
        except OSError as error:
            self.socket.close()
            raise Gone(str(error))

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, request):
        self.send_raw(json.dumps(request).encode() + b"\n")

    def send_raw(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Gone(str(error))

    def line(self):
        while b"\n" not in self.rest:
            try:
                data = self.socket.recv(65536)
            except ConnectionError as error:
                raise Gone(str(error))
            if not data:
                raise Gone("closed")
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def ask(self, verb, **members):
        """Exit status and documents of one request."""
        self.send(dict(members, verb=verb))
        docs = []
        while True:
            d = self.line()
            if d["schema"] == "sapair.end/1":
                return d["exit"], docs
            docs.append(d)


class Agent:
    def __init__(self, lab, name, address, config, flags=None):
        self.lab, self.name, self.address = lab, name, address
        self.config, self.flags = config, flags
        self.control = os.path.join(lab.dir, name + ".sock")
        self.config_path = os.path.join(lab.dir, name + ".json")
        self.log_path = os.path.join(lab.dir, name + ".log")
        self.process = None
        self.expect_exit = 0
        self.prefix = WRAP[:]  # in front of the program's own words

    def write_config(self, text=None):
        with open(self.config_path, "w") as f:
            config = {k: v for k, v in self.config.items() if k != "test_fault"}
            f.write(text if text is not None else json.dumps(config, indent=1))

    def start(self, ready=True, env=None):
        """Where the config has test_fault, the program with fault injection runs with that rule."""
        program = SAPAIR
        if "test_fault" in self.config:
            program = TEST_SAPAIR
            env = dict(env or {}, SAPAIR_TEST_FAULT=self.config["test_fault"])
        if self.flags is None:
            self.write_config()
            argv = self.prefix + [program, "run", "--config", self.config_path]
        else:
            argv = self.prefix + [program, "run", *self.flags, "--control", self.control]
        self.process = None
        self.started = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.lab.dir,
                env=dict(os.environ, NO_COLOR="1", **(env or {})),
            )
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self):
        def answers():
            check(self.process.poll() is None, "%s ended with %s" % (self.name, self.process.poll()))
            try:
                return self.status()
            except Gone:
                return None

        until(answers, "%s answers" % self.name)

    def log(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, limit=None):
        try:
            return self.process.wait(limit or LIMIT)
        except subprocess.TimeoutExpired:
            raise Failure("%s did not end in %d s" % (self.name, limit or LIMIT))

    def stop(self):
        """By SIGTERM; it must exit 0 and take its socket away."""
        if self.process is None:
            return
        if self.alive():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        rc = self.wait_exit()
        self.process = None
        equal(rc, self.expect_exit, "exit status of %s" % self.name)
        if rc == 0:
            check(not os.path.exists(self.control), "%s left its socket" % self.name)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def kill_quietly(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    # what it says

    def ask(self, verb, **members):
        with Control(self.control) as c:
            return c.ask(verb, **members)

    def status(self):
        rc, docs = self.ask("status")
        equal(rc, 0, "exit of status")
        return docs[0]

    def peer(self, name):
        """The peer's part of status, or None."""
        for p in self.status()["peers"]:
            if p["name"] == name:
                return p
        return None

    def cli(self, verb, *args, limit=None, json_out=True, **kw):
        words = verb.split() + list(args) + ["--control", self.control]
        return tool(*words, *(["--json"] if json_out else []), limit=limit or 3 * LIMIT, **kw)

    def cli_start(self, verb, *args):
        return subprocess.Popen(
            [SAPAIR, *verb.split(), *args, "--control", self.control, "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )

    def wait_up(self, name, epoch=None, limit=None):
        """Until the pair is in force and proven, at this epoch or later."""

        def look():
            p = self.peer(name)
            fine = p and p["state"] == "up" and p["verified"] and p["link"] == "up"
            return p if fine and (epoch is None or int(p["epoch"]) >= epoch) else None

        try:
            return until(look, "%s: %s is up" % (self.name, name), limit)
        except Failure as failure:
            raise Failure("%s\n%s" % (failure, json.dumps(self.peer(name))))

    def wait_peer(self, name, what, look, limit=None):
        """Until look(peer of status) is true; returns that peer."""

        def both():
            p = self.peer(name)
            return p if p is not None and look(p) else None

        try:
            return until(both, "%s: %s %s" % (self.name, name, what), limit)
        except Failure as failure:
            raise Failure("%s\n%s" % (failure, json.dumps(self.peer(name))))

    def wait_error(self, name, klass, part="", limit=None):
        """Until the peer's last trouble is of this class and its cause has this part."""
        return self.wait_peer(
            name,
            "has the error %s %r" % (klass, part),
            lambda p: p.get("error", {}).get("class") == klass and part in p["error"]["cause"],
            limit,
        )["error"]

    def wait_log(self, part, limit=None):
        try:
            until(lambda: part in self.log(), "log of %s has %r" % (self.name, part), limit)
        except Failure as failure:
            raise Failure(str(failure))


def in_force(peer):
    """What an exchange changes: epoch and SPIs; None when nothing is in force."""
    return (peer["epoch"], peer["in"]["spi"], peer["out"]["spi"]) if "epoch" in peer else None


def crossed(a, b):
    """Both hosts have the same pair in force."""
    return "epoch" in a and "epoch" in b and in_force(a) == (
        b["epoch"], b["out"]["spi"], b["in"]["spi"],
    )


class Lab:
    """What one test has."""

    taken = set()
    taken_lock = threading.Lock()

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="t", dir=store)
        self.agents = []
        self.cleanups = []
        self.port = self.free_port()

    @classmethod
    def free_port(cls, addresses=(ALPHA, BETA, GAMMA, DELTA)):
        """A port below those that the system gives out, free for TCP and UDP everywhere."""
        for _ in range(1000):
            port = random.randrange(10000, 32000)
            with cls.taken_lock:
                if port in cls.taken:
                    continue
                cls.taken.add(port)
            if all(
                cls.is_free(kind, address, port)
                for address in addresses
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
            ):
                return port
        raise Failure("no free port")

    @staticmethod
    def is_free(kind, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, kind) as s:
            if kind == socket.SOCK_STREAM:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind((address, port))
            except OSError:
                return False
        return True

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text, mode=0o600):
        path = self.path(name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def peer_of(self, name, **members):
        return dict({"name": name, "address": "%s:%d" % (ADDRESS[name], self.port)}, **members)

    def agent(self, name, *peers, id=None, **members):
        """An agent that is not started; a peer is a name, or a dict as in the config."""
        id = id or identity(name)
        config = {
            "listen": "%s:%d" % (ADDRESS[name], self.port),
            "backend": "soft",
            "certificate": id.cert,
            "key": id.key,
            "ca": id.ca,
            "control": self.path(name + ".sock"),
            "log": "debug",
            "peers": [self.peer_of(p) if isinstance(p, str) else p for p in peers],
        }
        config.update(members)
        config = {k: v for k, v in config.items() if v is not None}
        return self.add(Agent(self, name, ADDRESS[name], config))

    def agent_by_flags(self, name, *flags, id=None):
        """An agent without a config file, as `sapair run --peer` is used."""
        id = id or identity(name)
        words = [
            "--listen", "%s:%d" % (ADDRESS[name], self.port), "--backend", "soft",
            "--cert", id.cert, "--key", id.key, "--ca", id.ca, "--log", "debug",
        ]
        return self.add(Agent(self, name, ADDRESS[name], None, words + list(flags)))

    def add(self, agent):
        self.agents.append(agent)
        return agent

    def pair(self, alpha=None, beta=None, peer_alpha=None, peer_beta=None, both=None):
        """alpha and beta, started and proven. both: of either's config."""
        both = both or {}
        a = self.agent("alpha", self.peer_of("beta", **(peer_beta or {})), **{**both, **(alpha or {})})
        b = self.agent("beta", self.peer_of("alpha", **(peer_alpha or {})), **{**both, **(beta or {})})
        a.start(ready=False)
        b.start(ready=False)
        a.wait_ready()
        b.wait_ready()
        together(a, b)
        return a, b

    @contextlib.contextmanager
    def untouched(self, a, b):
        """What happens inside changes nothing of the honest pair of a and b."""
        before = in_force(a.peer(b.name)), in_force(b.peer(a.name))
        check(before[0] is not None, "the honest pair is not up")
        yield
        self.same(a, b, before)

    @staticmethod
    def same(a, b, before):
        for agent, other, was in ((a, b, before[0]), (b, a, before[1])):
            check(agent.alive(), "%s has ended" % agent.name)
            equal(in_force(agent.peer(other.name)), was, "pair in force at %s" % agent.name)
            rc, docs = agent.ask("verify", peer=other.name)
            check(rc == 0 and docs[0]["verified"], "the honest pair lost its proof: %s" % docs)

    def close(self, failed):
        trouble = []
        for cleanup in reversed(self.cleanups):
            with contextlib.suppress(Exception):
                cleanup()
        for agent in self.agents:
            try:
                agent.stop()
            except Exception as error:
                trouble.append(str(error))
                agent.kill_quietly()
            log = agent.log()
            trouble += ["%r in the log of %s" % (r, agent.name) for r in REPORTS if r in log]
        text = ""
        if failed or trouble:
            for agent in self.agents:
                lines = agent.log().splitlines()
                left_out = "" if len(lines) <= 100 else " (the last 100 of %d lines)" % len(lines)
                text += "---- log of %s%s\n%s\n" % (agent.name, left_out, "\n".join(lines[-100:]))
        shutil.rmtree(self.dir, ignore_errors=True)
        return trouble, text


def together(a, b, epoch=None, limit=None):
    """Until both say: up, proven, the same pair. Returns the two parts of status."""

    def look():
        x, y = a.peer(b.name), b.peer(a.name)
        fine = all(
            p and p["state"] == "up" and p["verified"] and p["link"] == "up" for p in (x, y)
        )
        if not fine or not crossed(x, y) or (epoch and int(x["epoch"]) < epoch):
            return None
        return x, y

    try:
        return until(look, "%s and %s have the same proven pair" % (a.name, b.name), limit)
    except Failure as failure:
        x, y = a.peer(b.name), b.peer(a.name)
        raise Failure("%s\n%s\n%s" % (failure, json.dumps(x), json.dumps(y)))


def quiet(a, b, limit=None):
    """... and nothing old is left: one SA each way."""

    def look():
        x, y = a.peer(b.name), b.peer(a.name)
        return (x, y) if x["held"] == y["held"] == 0 and crossed(x, y) else None

    return until(look, "one SA each way on %s and %s" % (a.name, b.name), limit)


# --- the harness ---------------------------------------------------------------------------------

tests = []


def test(function=None, *, alone=False, name=None):
    """Marks a test; alone: it measures time or loads the machine, and runs by itself."""

    def mark(f):
        title = (name or f.__name__).replace("_", " ")
        tests.append((title, f, alone))
        return f

    return mark if function is None else mark(function)


def run_one(function):
    """What to print under "not ok", or None; or a Skip."""
    lab = Lab()
    text = None
    try:
        function(lab)
    except Skip as skip:
        lab.close(False)
        return skip
    except Exception:
        text = traceback.format_exc()
    trouble, logs = lab.close(text is not None)
    if text is None and not trouble:
        return None
    return "".join(["%s\n" % t for t in trouble]) + (text or "") + logs


def report(number, title, result, seconds):
    if isinstance(result, Skip):
        print("ok %d - %s # SKIP %s" % (number, title, result))
    else:
        print("%s %d - %s # %.1f s" % ("not ok" if result else "ok", number, title, seconds))
        for line in (result or "").splitlines():
            print("#  " + line)
    sys.stdout.flush()
    return bool(result) and not isinstance(result, Skip)


def main():
    words = sys.argv[1:]
    chosen = [t for t in tests if not words or any(w in t[0] for w in words)]
    failed = 0
    if not os.access(SAPAIR, os.X_OK):
        sys.exit("no program %s: build it, or say where it is: SAPAIR=..." % SAPAIR)
    sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print("1..%d" % len(chosen))
    jobs = int(os.environ.get("JOBS", "4" if not SAN else "3"))

    def timed(function):
        start = time.monotonic()
        return run_one(function), time.monotonic() - start

    with concurrent.futures.ThreadPoolExecutor(max_workers=jobs) as pool:
        running = [None if alone else pool.submit(timed, f) for _, f, alone in chosen]
        for i, future in enumerate(running):
            if future is not None:
                failed += report(i + 1, chosen[i][0], *future.result())
    for i, (title, function, alone) in enumerate(chosen):
        if alone:
            failed += report(i + 1, title, *timed(function))
    sys.exit(1 if failed else 0)
