"""gate_server as a process, certificates, and waiting."""

import json
import os
import signal
import subprocess
import tempfile
import time
import unittest

import grpc
from google.protobuf import wrappers_pb2

SERVER = os.environ.get("GATE_SERVER", "tests/integration/gate/gate_server")
S = wrappers_pb2.StringValue


class Server:
    def __init__(self, *args):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([SERVER, *args], stdout=subprocess.PIPE, stderr=self.log)
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise AssertionError("gate_server did not start: %s" % self.log.read().decode())
        start = json.loads(line)
        self.port, self.memory_factor = start["port"], start["memory_factor"]
        self.address = "127.0.0.1:%d" % self.port

    def channel(self, credentials=None, options=()):
        # A channel of its own, not one that another test has opened to the same address.
        options = [("grpc.use_local_subchannel_pool", 1), *options]
        if credentials is None:
            return grpc.insecure_channel(self.address, options=options)
        return grpc.secure_channel(self.address, credentials, options=options)

    def rss_kb(self):
        with open("/proc/%d/status" % self.process.pid) as status:
            return int([line for line in status if line.startswith("VmRSS")][0].split()[1])

    def files(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def log_text(self):
        # Not by seek() and read(): the server writes at the offset that we share with it.
        return os.pread(self.log.fileno(), os.fstat(self.log.fileno()).st_size, 0).decode()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        """Its exit code, and what it said last."""
        if self.process.poll() is None:
            self.terminate()
        out, _ = self.process.communicate(timeout=40)
        return self.process.returncode, json.loads(out) if out else None


def method(channel, name, kind="unary_unary"):
    return getattr(channel, kind)(
        "/waymark.test.Gate/" + name, request_serializer=S.SerializeToString, response_deserializer=S.FromString
    )


def call(channel, name, text="", **kwargs):
    kwargs.setdefault("timeout", 20)
    return method(channel, name)(S(value=text), **kwargs).value


def stats(channel):
    return json.loads(call(channel, "Stats"))


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > until:
            raise AssertionError("the condition was not met in %s seconds" % seconds)
        time.sleep(0.01)


def wait_for_stats(channel, **at_least):
    """More is fine: what the cases before have left behind may still come in."""

    def are_reached():
        now = stats(channel)
        return all(now[name] >= value for name, value in at_least.items())

    wait_for(are_reached)


class Case(unittest.TestCase):
    ARGS = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.ARGS)
        cls.channel = cls.server.channel()

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        code, last = cls.server.stop()
        log = cls.server.log_text()
        cls.server.log.close()
        assert code == 0 and last["stopped"], "the server ended with %d: %s" % (code, log)
