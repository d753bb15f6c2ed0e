"""Labs that run, and a real sshd to reach their hosts by; for the scripts of tests/soft and tests/windows."""

import json
import os
import shutil
import subprocess
import tempfile

import sapairtest
from sapairtest import check, equal, tool, until, well


def lab_file(lab, count=2, name="demo", **more):
    """A lab on loopback addresses that no other test has."""
    net = "127.%d.%d." % (sapairtest.random.randrange(30, 90), sapairtest.random.randrange(1, 250))
    text = {"lab": name, "backend": "soft",
            "hosts": [{"name": "h%d" % i, "address": "%s%d:%d" % (net, i, lab.port)}
                      for i in range(1, count + 1)]}
    text.update(more)
    path = os.path.join(lab.dir, name + ".json")
    with open(path, "w") as f:
        json.dump(text, f)
    return path


class Running:
    """A lab file, its folder, and the verbs on it; taken down at the end of the test."""

    def __init__(self, lab, path, *flags):
        self.path, self.flags = path, flags
        self.dir = os.path.join(lab.dir, "run")
        self.log = lab.dir
        lab.cleanups.append(self.end)

    def __call__(self, verb, *more, rc=0, limit=60):
        r = tool("lab", verb, self.path, "--dir", self.dir, "--json", *self.flags, *more,
                 limit=limit * sapairtest.SLOW)
        return well(r, rc).doc("lab")

    def up(self, *more, rc=0):
        return self("up", *more, rc=rc)

    def pid(self, host):
        with open(os.path.join(self.dir, host, "pid")) as f:
            return int(f.read())

    def end(self):
        tool("lab", "down", self.path, "--dir", self.dir, *self.flags, limit=60)

    def processes(self):
        """Agents that run in the folder."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % pid) as f:
                    line = f.read()
            except OSError:
                continue
            if self.dir in line and "bundle" in line:
                found.append(pid)
        return found

    def left(self):
        check(not os.path.exists(self.dir), "the folder %s is left" % self.dir)
        equal(self.processes(), [], "processes that are left")


def failed(doc):
    return {h["name"]: h["cause"] for h in doc["hosts"] if h["state"] == "failed"}


class Sshd:
    """A real sshd, with keys of its own. command: what every session runs; inside: how a program gets to
    where it shall listen."""

    def __init__(self, lab, command=None, address="127.0.0.1", inside=()):
        self.address, self.inside = address, list(inside)
        self.dir = tempfile.mkdtemp(prefix="sshd", dir=lab.dir)
        self.port = lab.free_port()
        os.makedirs("/run/sshd", exist_ok=True)
        for key in ("host", "good", "bad"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.path(key)],
                           check=True)
        shutil.copy(self.path("good.pub"), self.path("authorized"))
        self.write("sshd_config", """
            ListenAddress %s:%d
            HostKey %s
            AuthorizedKeysFile %s
            PidFile none
            StrictModes no
            UsePAM no
            PasswordAuthentication no
            PermitRootLogin prohibit-password
            MaxStartups 100
            Subsystem sftp sftp
            %s
            """ % (address, self.port, self.path("host"), self.path("authorized"),
                   "ForceCommand %s" % command if command else ""))
        with open(self.path("host.pub")) as f:
            self.write("known", "[%s]:%d %s" % (address, self.port, f.read()))
        self.write("config", """
            Host *
              IdentitiesOnly yes
              IdentityFile %s
              UserKnownHostsFile %s
              GlobalKnownHostsFile none
            Match originalhost wrong
              HostName %s
              Port %d
            """ % (self.path("good"), self.path("known"), address, self.port))
        self.process = subprocess.Popen(
            [*self.inside, shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", self.path("sshd_config")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(self.path("log"), "w"))
        lab.cleanups.append(self.close)
        until(self.answers, "sshd answers")

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write("\n".join(line.strip() for line in text.strip().splitlines()) + "\n")

    def answers(self):
        check(self.process.poll() is None, "sshd ended")
        with open(self.path("log")) as f:
            return "Server listening on" in f.read()

    def target(self):
        return "ssh://root@%s:%d" % (self.address, self.port)

    def close(self):
        self.process.terminate()
        self.process.wait()


def need_ssh():
    if sapairtest.SAN:
        raise sapairtest.Skip("the plain build does it")
    if os.geteuid() != 0 or not (shutil.which("ssh") and (
            shutil.which("sshd") or os.path.exists("/usr/sbin/sshd"))):
        raise sapairtest.Skip("no sshd, or not root")
