"""An sshd with keys of its own, for labs whose hosts are reached by ssh."""

import os
import shutil
import subprocess
import tempfile

from harness.settings import SAN
from harness.tap import Skip, check, until


class Sshd:
    """command: what each session runs instead of its own command; inside: words put in front of the command
    line of sshd."""

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
    """Skips the test where no sshd can run."""
    if SAN:
        raise Skip("the plain build does it")
    if os.geteuid() != 0 or not (shutil.which("ssh") and (
            shutil.which("sshd") or os.path.exists("/usr/sbin/sshd"))):
        raise Skip("no sshd, or not root")
