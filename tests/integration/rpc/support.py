"""What the tests of the call runtime share: echo_server on a real socket, and grpcio."""

import http.client
import json
import os
import signal
import subprocess
import tempfile
import time
import unittest

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

SERVER = os.environ.get("ECHO_SERVER", "tests/integration/rpc/echo_server")
PROTO = os.environ.get("PROTO_OUT", "proto")
S = wrappers_pb2.StringValue


def load_pool(*names):
    pool = descriptor_pool.DescriptorPool()
    for name in names:
        with open(os.path.join(PROTO, name), "rb") as file:
            for proto in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
                pool.Add(proto)
    return pool


POOL = load_pool("google/rpc_descriptor_set.binpb", "grpc/grpc_descriptor_set.binpb")


def message_class(name):
    return message_factory.MessageFactory(POOL).GetPrototype(POOL.FindMessageTypeByName(name))


class Server:
    def __init__(self, *args):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([SERVER, *args], stdout=subprocess.PIPE, stderr=self.log)
        self.ports = json.loads(self.process.stdout.readline())
        self.port = self.ports["port"]
        self.channel = grpc.insecure_channel("127.0.0.1:%d" % self.port)

    def method(self, kind, name, request=S, response=S):
        path = name if name.startswith("/") else "/waymark.test.Echo/" + name
        return getattr(self.channel, kind)(
            path, request_serializer=request.SerializeToString, response_deserializer=response.FromString
        )

    def raw(self, kind, name):
        return getattr(self.channel, kind)("/waymark.test.Echo/" + name)

    def unary(self, name, value="", **kwargs):
        kwargs.setdefault("timeout", 10)
        return self.method("unary_unary", name)(S(value=value), **kwargs).value

    def counters(self):
        return json.loads(self.unary("Counters"))

    def rss_kb(self):
        with open("/proc/%d/status" % self.process.pid) as status:
            return int([line for line in status if line.startswith("VmRSS")][0].split()[1])

    def stop(self, timeout=20):
        """Ends it as an operator would; what it said last."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=timeout)
        self.channel.close()
        self.log.close()
        return self.process.returncode, json.loads(out) if out else None

    def log_lines(self, strict=True):
        """`strict`: nothing else may be there (a sanitizer's report of an abort, say)."""
        # Not by seek() and read(): the server writes at the offset that we share with it.
        text = os.pread(self.log.fileno(), os.fstat(self.log.fileno()).st_size, 0)
        lines = text[: text.rfind(b"\n") + 1].splitlines()
        return [json.loads(line) for line in lines if strict or line.startswith(b"{")]


def details_of(error):
    """code, reason, {type: message} of the status details."""
    metadata = dict(error.trailing_metadata())
    status = message_class("google.rpc.Status").FromString(metadata["grpc-status-details-bin"])
    found = {}
    for detail in status.details:
        name = detail.type_url.rpartition("/")[2]
        found[name] = message_class(name).FromString(detail.value)
    return status, found


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def wait_for(condition, seconds=10):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError("the condition was not met in %s seconds" % seconds)
        time.sleep(0.01)


def get(server, path, method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.ports["http_port"], timeout=10)
    try:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())
    finally:
        connection.close()


def samples(server):
    """Of /metrics: {name with labels: value}"""
    status, text, _ = get(server, "/metrics")
    assert status == 200
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


class Case(unittest.TestCase):
    ARGS = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.ARGS)

    @classmethod
    def tearDownClass(cls):
        code, last = cls.server.stop()
        assert code == 0, "the server ended with %d" % code
        assert last["stopped"]

    def assertGrewLess(self, before_kb, limit_kb):
        self.assertLess(self.server.rss_kb() - before_kb, limit_kb * self.server.ports["memory_factor"])

    def assertFails(self, code, reason, call, *args, **kwargs):
        with self.assertRaises(grpc.RpcError) as caught:
            result = call(*args, **kwargs)
            if hasattr(result, "__iter__"):
                list(result)
        error = caught.exception
        self.assertEqual(error.code(), code, error.details())
        if reason is None:
            return error, {}
        status, details = details_of(error)
        self.assertEqual(status.code, code.value[0])
        self.assertEqual(details["google.rpc.ErrorInfo"].reason, reason)
        self.assertEqual(details["google.rpc.ErrorInfo"].domain, "waymark")
        return error, details
