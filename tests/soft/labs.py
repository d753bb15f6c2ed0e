"""Labs that run, and a real sshd to reach their hosts by; for the scripts of tests/soft and tests/windows."""

import glob
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


# scripts/setup.sh unpacks an sshd where none is installed.
SSHD = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
UNPACKED = None
if not SSHD:
    folder = os.path.join(sapairtest.HERE, "..", "..", "build", "deps", "sshd")
    if os.path.exists(folder + "/usr/sbin/sshd"):
        UNPACKED = os.path.abspath(folder)
        SSHD = UNPACKED + "/usr/sbin/sshd"
# An unpacked sshd finds its helpers, its user, and its libraries in a mount namespace of its own.
MOUNTS = """
set -e
mount --bind "$1/usr/lib/openssh" /usr/lib/openssh
mount --bind "$2/passwd" /etc/passwd
mount --bind "$2/ld.so.cache" /etc/ld.so.cache
shift 2
exec "$@"
"""


def sftp_server():
    """Where a session of Sshd finds it."""
    return next((p for p in ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server")
                 if os.path.exists((UNPACKED or "") + p)), None)


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
            [*self.inside, *self.mounts(), SSHD, "-D", "-e", "-f", self.path("sshd_config")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(self.path("log"), "w"))
        lab.cleanups.append(self.close)
        until(self.answers, "sshd answers")

    def mounts(self):
        """The words before the command line of an sshd that is unpacked."""
        if not UNPACKED:
            return []
        with open("/etc/passwd") as f:
            self.write("passwd", "\n".join(line for line in f.read().splitlines() if not line.startswith("sshd:"))
                       + "\nsshd:x:65534:65534::/run/sshd:/usr/sbin/nologin")
        libraries = {os.path.dirname(p) for p in glob.glob(UNPACKED + "/**/lib*.so.*", recursive=True)}
        self.write("ld.so.conf", "\n".join(["include /etc/ld.so.conf.d/*.conf", *libraries]))
        subprocess.run(["ldconfig", "-i", "-X", "-f", self.path("ld.so.conf"), "-C", self.path("ld.so.cache")],
                       check=True, env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin"))
        return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", MOUNTS, "sh", UNPACKED, self.dir]

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
    if os.geteuid() != 0:
        raise sapairtest.Skip("only root can run an sshd")
    if not (SSHD and shutil.which("ssh")):
        raise sapairtest.Skip("no sshd, not even an unpacked one (scripts/setup.sh test)")
    if UNPACKED and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        raise sapairtest.Skip("no mount namespaces: an sshd that is not installed needs one")
