"""A `waymarkd dev` of its own in a fresh state directory, for tests of C programs."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

WAYMARKD = os.path.abspath("server/waymarkd")
WAYMARK = os.path.abspath("client/cli/waymark")
START_S = 120


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self):
        self.state = tempfile.mkdtemp(prefix="wmsdk-", dir="/tmp")
        os.chmod(self.state, 0o755)
        port, issuer_port = free_port(), free_port()
        self.log = open(os.path.join(self.state, "log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [WAYMARKD, "dev", "--state", self.state, "--listen", f"127.0.0.1:{port}"]
            + ["--issuer-listen", f"127.0.0.1:{issuer_port}"],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        self.env = dict(os.environ, WAYMARK_ADDRESS=f"127.0.0.1:{port}", WAYMARK_STATE=self.state)
        self.env["WAYMARK_ISSUER"] = f"http://127.0.0.1:{issuer_port}"
        self._wait()
        self.env.update(self._dev_env())
        self.env["WAYMARK_TOKEN"] = self.run(WAYMARK, "token", "--sub", "dev-admin").strip()

    def _wait(self):
        end = time.monotonic() + START_S
        while subprocess.run([WAYMARK, "health"], env=self.env, capture_output=True, check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > end:
                self.log.seek(0)
                raise AssertionError("waymarkd does not serve:\n" + self.log.read()[-4000:])
            time.sleep(0.05)

    def _dev_env(self):
        with open(os.path.join(self.state, "dev.env"), encoding="utf-8") as lines:
            return dict(line.rstrip("\n").split("=", 1) for line in lines if "=" in line)

    def run(self, *command, stdin=None):
        """What a command prints; it must end well."""
        done = subprocess.run(
            command, env=self.env, input=stdin, capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.log.close()
        shutil.rmtree(self.state, ignore_errors=True)
