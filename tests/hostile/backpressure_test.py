"""A gigabyte that one side does not take: the server's memory stays where it was.

Each case runs against tests/interop/server by itself and behind its gate.
"""

import fcntl
import socket
import struct
import subprocess
import termios
import threading
import time
import unittest

import grpc

import measure

SERVER = "tests/interop/server"
MB = 1 << 20
MESSAGES = 1024  # of a megabyte
GROWTH_MAX_MB = 64
STALL_S = 1.0  # without progress: the flow has stopped
STALL_WAIT_S = 60
SLOW_S = 3.0
METHOD = "/grpc.testing.TestService/"


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def asks_for(messages, size):
    """StreamingOutputCallRequest: so many responses of this size."""
    return field(2, b"\x08" + varint(size)) * messages


def carries(size):
    """StreamingOutputCallRequest: a payload that nobody asked for."""
    return field(3, field(2, bytes(size)))


def free_port():
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::", 0))
        return probe.getsockname()[1]


def wait_until_stalled(progress):
    """Until progress() has not changed for STALL_S; its value."""
    last, since, end = progress(), time.monotonic(), time.monotonic() + STALL_WAIT_S
    while time.monotonic() - since < STALL_S:
        if progress() != last:
            last, since = progress(), time.monotonic()
        if time.monotonic() > end:
            raise AssertionError(f"the flow did not stop: {last}")
        time.sleep(0.02)
    return last


class Backpressure:
    """The cases; the classes below say how the server is reached."""

    options = ()

    def setUp(self):
        self.port = free_port()
        command = [SERVER, "--port", str(self.port), *self.options]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.stop)
        self.assertIn("serving", self.server.stdout.readline())
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")
        self.addCleanup(self.channel.close)
        self.channel.unary_unary(METHOD + "EmptyCall")(b"", timeout=30)
        self.watch = measure.Watch(self.server.pid)
        self.watch.start()

    def stop(self):
        self.server.terminate()
        self.server.wait(30)
        self.server.stdout.close()

    def assert_memory(self):
        """What the server took since it was idle."""
        self.watch.stop()
        self.assertFalse(self.watch.killed or self.watch.died)
        self.assertLess(self.watch.peak - self.watch.idle, GROWTH_MAX_MB)

    def test_slow_reader(self):
        """Reads now and then, later as fast as it can: all of it comes."""
        stream = self.channel.unary_stream(METHOD + "StreamingOutputCall")
        responses = stream(asks_for(MESSAGES, MB), timeout=300)
        size = n = 0
        end = time.monotonic() + SLOW_S
        for response in responses:
            size, n = size + len(response), n + 1
            if time.monotonic() < end:
                time.sleep(0.1)
        self.assertEqual(n, MESSAGES)
        self.assertGreaterEqual(size, MESSAGES * MB)
        self.assert_memory()

    def test_reader_that_reads_nothing(self):
        """A window of two gigabytes and a socket that nobody reads: only the kernel's buffers fill."""
        message = asks_for(MESSAGES, MB)
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            peer.connect(("127.0.0.1", self.port))
            peer.sendall(request_with_wide_windows(message))
            peer.recv(1, socket.MSG_PEEK)
            wait_until_stalled(lambda: readable(peer))
            self.assert_memory()

    def test_writer_into_a_handler_that_does_not_read(self):
        """The handler is busy with responses that nobody reads. When they are read, all goes through."""
        sent = []
        done = threading.Event()

        def requests():
            yield asks_for(MESSAGES, MB)
            for _ in range(MESSAGES):
                sent.append(1)
                yield carries(MB)
            done.set()

        responses = self.channel.stream_stream(METHOD + "FullDuplexCall")(requests(), timeout=300)
        accepted = wait_until_stalled(lambda: len(sent))
        self.assertFalse(done.is_set())
        self.assertLess(accepted, GROWTH_MAX_MB)
        self.assertEqual(sum(1 for _ in responses), MESSAGES)
        self.assertTrue(done.is_set())
        self.assert_memory()


def readable(peer):
    """Bytes that wait in the kernel for a socket."""
    return struct.unpack("i", fcntl.ioctl(peer, termios.FIONREAD, b"\0\0\0\0"))[0]


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def request_with_wide_windows(message):
    """Preface, windows of 2 GB, and one StreamingOutputCall."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": METHOD + "StreamingOutputCall",
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    wide = (1 << 31) - 1
    out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 4, wide))
    out += frame(8, 0, 0, struct.pack(">I", wide - 65535))
    out += frame(1, 4, 1, b"".join(literal(name, value) for name, value in fields.items()))
    return out + frame(0, 1, 1, b"\0" + struct.pack(">I", len(message)) + message)


class Direct(Backpressure, unittest.TestCase):
    """At the core's own listener."""


class Gate(Backpressure, unittest.TestCase):
    """Behind the gate."""

    options = ["--gate"]


if __name__ == "__main__":
    unittest.main()
