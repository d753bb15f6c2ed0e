"""Certificate authorities and certificates, made once for a run, in a folder that is removed at its end."""

import atexit
import os
import shutil
import tempfile
import threading

from harness.program import expect_exit, run_sapair
from harness.settings import ADDRESS

store = tempfile.mkdtemp(prefix="sapair-")
store_lock = threading.Lock()
made = {}
atexit.register(shutil.rmtree, store, ignore_errors=True)


class Identity:
    """Paths of a certificate, its key and its CA's certificate; the pin."""

    def __init__(self, folder, name):
        self.cert = os.path.join(folder, name + ".crt")
        self.key = os.path.join(folder, name + ".key")
        self.ca = os.path.join(folder, "ca.crt")
        self.pin = expect_exit(run_sapair("id", "show", self.cert, "--pin")).out.strip()


def ca(name="ca"):
    """The folder of the authority of that name."""
    folder = os.path.join(store, name)
    with store_lock:
        if folder not in made:
            expect_exit(run_sapair("ca", "new", "--name", name, "--dir", folder))
            made[folder] = folder
    return folder


def identity(name, *addresses, by="ca", options=()):
    """A certificate for these addresses; by default for that of the host of that name."""
    addresses = addresses or (ADDRESS[name],)
    authority = ca(by)
    key = (name, addresses, by, tuple(options))
    with store_lock:
        if key not in made:
            folder = os.path.join(store, "id%d" % len(made))
            words = [w for a in addresses for w in ("--address", a)]
            expect_exit(
                run_sapair("ca", "issue", name, *words, "--dir", authority, "--out", folder, *options)
            )
            made[key] = Identity(folder, name)
        return made[key]
