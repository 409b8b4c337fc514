"""Starts real waymark servers for the end-to-end tests and talks to them with stock grpcio.

The messages and stubs are generated from proto/ by grpc_tools, as a user's would be.
WAYMARKD and WAYMARK name the two programs, WAYMARK_PROTO the proto root.
"""

import atexit
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree

import grpc
from grpc_tools import protoc

WAYMARKD = os.path.abspath(os.environ["WAYMARKD"])
WAYMARK = os.path.abspath(os.environ["WAYMARK"])
PROTO = os.path.abspath(os.environ["WAYMARK_PROTO"])
SHARED = pathlib.Path(os.environ.get("WAYMARK_SHARED", "../shared"))

START_S = 120
STOP_S = 60


def wait_for(condition, what, timeout_s=30.0):
    """Polls until condition() is true and returns its value; fails with `what` otherwise."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.02)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def generate_stubs():
    """Python modules of every waymark proto, importable afterwards."""
    out = tempfile.mkdtemp(prefix="waymark-py-")
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    protos = sorted(str(p) for p in pathlib.Path(PROTO, "waymark").rglob("*.proto"))
    protos += sorted(str(p) for p in pathlib.Path(PROTO, "google", "rpc").rglob("*.proto"))
    include = os.path.join(os.path.dirname(protoc.__file__), "_proto")
    roots = [root for root in (PROTO, include, "/usr/include") if os.path.isdir(root)]
    arguments = ["protoc"] + [f"-I{root}" for root in roots]
    arguments += [f"--python_out={out}", f"--grpc_python_out={out}"] + protos
    if protoc.main(arguments) != 0:
        raise AssertionError("grpc_tools could not compile proto/")
    sys.path.insert(0, out)
    return out


class Server:
    """`waymarkd dev` in a state directory of its own, or joined to another's."""

    def __init__(self, join=None, options=()):
        self.join = join
        self.options = list(options)
        self.state = join.state if join else tempfile.mkdtemp(prefix="wm-e2e-", dir="/tmp")
        os.chmod(self.state, 0o755)
        self.port = free_port()
        self.issuer_port = join.issuer_port if join else free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.process = None
        self.log = open(os.path.join(self.state, f"server-{self.port}.log"), "ab")

    def start(self):
        # Two lanes on any machine: what passes between lanes is to be tested too.
        command = [WAYMARKD, "dev", "--listen", self.address, "--lanes", "2"]
        if self.join:
            command += ["--join", self.state]
        else:
            command += ["--state", self.state, "--issuer-listen", f"127.0.0.1:{self.issuer_port}"]
        self.process = subprocess.Popen(command + self.options, stdout=self.log, stderr=self.log)
        wait_for(self._serves, f"server on {self.address}\n{self.log_tail()}", START_S)
        return self

    def _serves(self):
        if self.process.poll() is not None:
            raise AssertionError(f"waymarkd ended with {self.process.returncode}\n{self.log_tail()}")
        return self.cli("health", check=False).returncode == 0

    def log_tail(self):
        with open(self.log.name, "rb") as file:
            return file.read()[-4000:].decode(errors="replace")

    def env(self):
        environment = dict(os.environ)
        environment["WAYMARK_ADDRESS"] = self.address
        environment["WAYMARK_ISSUER"] = f"http://127.0.0.1:{self.issuer_port}"
        return environment

    def cli(self, *arguments, token=None, check=True, stdin=None, timeout=300):
        environment = self.env()
        if token:
            environment["WAYMARK_TOKEN"] = token
        done = subprocess.run(
            [WAYMARK, *arguments], env=environment, input=stdin, capture_output=True, text=True, timeout=timeout
        )
        if check and done.returncode != 0:
            raise AssertionError(f"waymark {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def cli_json(self, *arguments, token=None):
        lines = self.cli(*arguments, "--json", token=token).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def token(self, sub="alice", role="admin", *more):
        return self.cli("token", "--sub", sub, "--role", role, *more).stdout.strip()

    def channel(self):
        return grpc.insecure_channel(self.address)

    def kill(self):
        """SIGKILL, as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return self.process.returncode if self.process else None

    def pid(self, name):
        return int(pathlib.Path(self.state, f"{name}.pid").read_text())

    def close(self):
        self.stop()
        self.log.close()
        if not self.join:
            shutil.rmtree(self.state, ignore_errors=True)


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


def reason(error):
    """The ErrorInfo reason in a grpc.RpcError's details."""
    from google.rpc import error_details_pb2, status_pb2

    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            for detail in status.details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return info.reason
    return ""


class XmlResult(unittest.TextTestResult):
    """Remembers every test with its outcome, for the XML file that `./dev test` counts."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.outcomes = []

    def addSuccess(self, test):
        super().addSuccess(test)
        self.outcomes.append((test, None, None))

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.outcomes.append((test, "failure", self._exc_info_to_string(error, test)))

    def addError(self, test, error):
        super().addError(test, error)
        self.outcomes.append((test, "error", self._exc_info_to_string(error, test)))

    def addSkip(self, test, why):
        super().addSkip(test, why)
        self.outcomes.append((test, "skipped", why))


def write_xml(path, outcomes):
    suite = ElementTree.Element("testsuite", name="e2e", tests=str(len(outcomes)))
    for test, kind, text in outcomes:
        case = ElementTree.SubElement(suite, "testcase", name=test.id(), classname="e2e")
        if kind:
            ElementTree.SubElement(case, kind, message=kind).text = text
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def main(module):
    suite = unittest.defaultTestLoader.loadTestsFromName(module)
    result = unittest.TextTestRunner(verbosity=2, resultclass=XmlResult).run(suite)
    if os.environ.get("XML_OUTPUT_FILE"):
        write_xml(os.environ["XML_OUTPUT_FILE"], result.outcomes)
    sys.exit(0 if result.wasSuccessful() else 1)


generate_stubs()
