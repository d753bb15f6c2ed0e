#!/usr/bin/python3
"""Starts or stops the agent of a lab host."""

import hashlib
import os
import signal
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: sapair_agent
short_description: The agent of a lab host
description:
  - Starts C(sapair run --bundle DIR/bundle), or stops it. Restarts an agent that runs with another bundle.
options:
  program: {description: The program on the host., type: path, required: true}
  dir: {description: The folder that contains the bundle., type: path, required: true}
  state: {description: The desired state., choices: [started, stopped], default: started}
  timeout: {description: Seconds until the agent must be running., type: int, default: 20}
"""


class Host:
    def __init__(self, module):
        self.module = module
        self.program, self.dir = module.params["program"], module.params["dir"]
        self.control = self.path("control.sock")

    def path(self, name):
        return os.path.join(self.dir, name)

    def read(self, name):
        try:
            with open(self.path(name), "rb") as f:
                return f.read()
        except OSError:
            return None

    def ask(self, *words):
        """Runs a verb and returns its exit status, or None if the program does not exist."""
        try:
            return subprocess.run([self.program, *words, "--control", self.control, "--timeout", "3"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL).returncode
        except OSError:
            return None

    def answers(self):
        return os.path.exists(self.control) and self.ask("status") == 0

    def bundle(self):
        text = self.read("bundle")
        return None if text is None else hashlib.sha256(text).hexdigest()

    def pid(self):
        """Returns the process id of this lab's agent, or None. Checks that the id has not been reused."""
        number = (self.read("pid") or b"").decode().strip()
        if not number.isdigit():
            return None
        try:
            with open("/proc/%s/cmdline" % number, "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            return None
        return int(number) if self.path("bundle").encode() in words else None

    def stop(self):
        if os.path.exists(self.control):
            self.ask("down", "--all")
            self.ask("stop")
        end = time.monotonic() + 3
        while self.pid() and time.monotonic() < end:
            time.sleep(0.05)
        if self.pid():
            os.kill(self.pid(), signal.SIGKILL)
        for name in ("control.sock", "pid", "started"):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))

    def start(self):
        with open(self.path("log"), "wb") as log:
            p = subprocess.Popen(
                [self.program, "run", "--bundle", self.path("bundle"), "--control", self.control],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/")
        with open(self.path("pid"), "w") as f:
            f.write(str(p.pid))
        end = time.monotonic() + self.module.params["timeout"]
        while not self.answers():
            if p.poll() is not None or time.monotonic() > end:
                lines = (self.read("log") or b"").decode("utf-8", "replace").splitlines()
                cause = [line for line in lines if "error" in line] or lines[-1:] or ["no output"]
                self.module.fail_json(msg="the agent does not start: " + cause[0], rc=p.poll())
            time.sleep(0.05)
        with open(self.path("started"), "w") as f:
            f.write(self.bundle())


def main():
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "path", "required": True},
            "dir": {"type": "path", "required": True},
            "state": {"choices": ["started", "stopped"], "default": "started"},
            "timeout": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    os.umask(0o077)
    host = Host(module)
    if module.params["state"] == "started":
        if not module.check_mode and not os.access(host.program, os.X_OK):
            module.fail_json(msg="%s does not exist or is not executable" % host.program)
        changed = not host.answers() or (host.read("started") or b"").decode() != host.bundle()
        if changed and not module.check_mode:
            host.stop()
            host.start()
    else:
        changed = host.pid() is not None or os.path.exists(host.control)
        if changed and not module.check_mode:
            host.stop()
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
