"""An sshd with keys of its own, for labs whose hosts are reached by ssh."""

import glob
import os
import shutil
import subprocess
import tempfile

from harness.settings import ROOT, SAN
from harness.tap import Skip, check, until


# scripts/setup.sh unpacks an sshd if none is installed.
SSHD = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
UNPACKED = None
if not SSHD and os.path.exists(os.path.join(ROOT, "build/deps/sshd/usr/sbin/sshd")):
    UNPACKED = os.path.join(ROOT, "build/deps/sshd")
    SSHD = UNPACKED + "/usr/sbin/sshd"
# An unpacked sshd runs in a mount namespace that contains its helpers, its user and its libraries.
MOUNTS = """
set -e
mount --bind "$1/usr/lib/openssh" /usr/lib/openssh
mount --bind "$2/passwd" /etc/passwd
mount --bind "$2/ld.so.cache" /etc/ld.so.cache
shift 2
exec "$@"
"""


def sftp_server():
    """The path of sftp-server in a session of Sshd."""
    return next((p for p in ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server")
                 if os.path.exists((UNPACKED or "") + p)), None)


class Sshd:
    """command: each session runs this instead of its own command; inside: words before the command line of
    sshd."""

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
        """The words before the command line of an unpacked sshd."""
        if not UNPACKED:
            return []
        with open("/etc/passwd") as f:
            users = [line for line in f.read().splitlines() if not line.startswith("sshd:")]
        self.write("passwd", "\n".join([*users, "sshd:x:65534:65534::/run/sshd:/usr/sbin/nologin"]))
        libraries = {os.path.dirname(p) for p in glob.glob(UNPACKED + "/**/lib*.so.*", recursive=True)}
        self.write("ld.so.conf", "\n".join(["include /etc/ld.so.conf.d/*.conf", *sorted(libraries)]))
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
    """Skips the test if no sshd can run."""
    if SAN:
        raise Skip("runs with the plain build only")
    if os.geteuid() != 0:
        raise Skip("only root can run an sshd")
    if not (SSHD and shutil.which("ssh")):
        raise Skip("sshd is missing: run scripts/setup.sh")
    if UNPACKED and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        raise Skip("no mount namespaces, which the unpacked sshd needs")
