"""No reply stays behind where others wait for company (server/rpc/cork.c; what it gains: tests/unit/rpc)."""

import struct
import time
import unittest

import raw_http2
from support import S, Server

CALLS = 128
KEPT_BY_THE_KERNEL_S = 0.2  # what a corked socket keeps leaves after this


class Cork(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        status, _ = cls.server.stop()
        assert status == 0, cls.server.log_lines(strict=False)

    def connect(self):
        connection = raw_http2.Connection(self.server.port)
        self.addCleanup(connection.close)
        connection.ping()
        return connection

    def send(self, connection, method, value, n):
        """Sends n calls in one write."""
        block = raw_http2.request_headers("/waymark.test.Echo/" + method)
        message = S(value=value).SerializeToString()
        message = struct.pack(">BI", 0, len(message)) + message
        frames = b""
        for _ in range(n):
            stream, connection.next_stream = connection.next_stream, connection.next_stream + 2
            frames += raw_http2.frame(raw_http2.HEADERS, raw_http2.END_HEADERS, stream, block)
            frames += raw_http2.frame(raw_http2.DATA, raw_http2.END_STREAM, stream, message)
        connection.socket.sendall(frames)

    def wait(self, connection, n):
        """For the ends of n calls; each must have had its answer."""
        answers = ended = 0
        for kind, flags, _, payload in connection.frames():
            if kind == raw_http2.PING and not flags & raw_http2.ACK:
                connection.socket.sendall(raw_http2.frame(raw_http2.PING, raw_http2.ACK, 0, payload))
            answers += kind == raw_http2.DATA
            ended += kind == raw_http2.HEADERS and bool(flags & raw_http2.END_STREAM)
            if ended == n:
                break
        self.assertEqual((answers, ended), (n, n))

    def call(self, connection, method, value, n):
        self.send(connection, method, value, n)
        self.wait(connection, n)

    def test_no_reply_stays_behind(self):
        for method, value in (("Inline", "x"), ("Loop", "x"), ("Slow", "1")):
            connection = self.connect()
            for burst in (1, 2, 7, 64, 65):
                times = []
                for _ in range(20):
                    begin = time.monotonic()
                    self.call(connection, method, value, burst)
                    times.append(time.monotonic() - begin)
                # Late bursts may be the machine's; when all are, it is ours.
                self.assertLess(min(times), KEPT_BY_THE_KERNEL_S, (method, burst))

    def test_a_call_alone_is_never_kept(self):
        connection = self.connect()
        self.call(connection, "Inline", "x", CALLS)  # after this corking is on
        late = 0
        for _ in range(1000):
            begin = time.monotonic()
            self.call(connection, "Inline", "x", 1)
            late += time.monotonic() - begin >= KEPT_BY_THE_KERNEL_S
        self.assertLess(late, 3)

    def test_more_connections_than_are_corked_at_a_time(self):
        connections = [self.connect() for _ in range(40)]
        times = []
        for _ in range(10):
            begin = time.monotonic()
            for connection in connections:
                self.send(connection, "Slow", "20", 3)
            for connection in connections:
                self.wait(connection, 3)
            times.append(time.monotonic() - begin)
        self.assertLess(min(times), KEPT_BY_THE_KERNEL_S)


if __name__ == "__main__":
    unittest.main(verbosity=2)
