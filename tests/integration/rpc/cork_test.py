"""Replies that leave together share segments, and none stays behind (server/rpc/cork.c)."""

import socket
import statistics
import struct
import time
import unittest

import raw_http2
from support import S, Server

DATA_SEGMENTS_IN = 152  # offset in struct tcp_info of Linux
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

    def call(self, connection, method, value, n):
        """Sends n calls in one write and waits for their ends; each must have had its answer."""
        block = raw_http2.request_headers("/waymark.test.Echo/" + method)
        message = S(value=value).SerializeToString()
        message = struct.pack(">BI", 0, len(message)) + message
        frames = b""
        for _ in range(n):
            stream, connection.next_stream = connection.next_stream, connection.next_stream + 2
            frames += raw_http2.frame(raw_http2.HEADERS, raw_http2.END_HEADERS, stream, block)
            frames += raw_http2.frame(raw_http2.DATA, raw_http2.END_STREAM, stream, message)
        connection.socket.sendall(frames)
        answers = ended = 0
        for kind, flags, _, payload in connection.frames():
            if kind == raw_http2.PING and not flags & raw_http2.ACK:
                connection.socket.sendall(raw_http2.frame(raw_http2.PING, raw_http2.ACK, 0, payload))
            answers += kind == raw_http2.DATA
            ended += kind == raw_http2.HEADERS and bool(flags & raw_http2.END_STREAM)
            if ended == n:
                break
        self.assertEqual((answers, ended), (n, n))

    def segments(self, connection):
        info = connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        return struct.unpack_from("=I", info, DATA_SEGMENTS_IN)[0]

    def segments_of(self, method, value):
        connection = self.connect()
        before = self.segments(connection)
        self.call(connection, method, value, CALLS)
        return self.segments(connection) - before

    def test_replies_of_the_queue_thread_share_segments(self):
        self.assertLess(self.segments_of("Inline", "x"), CALLS / 2)

    def test_replies_of_one_turn_of_the_loop_share_segments(self):
        # All timers were started within some milliseconds; many of them fire in the same turn.
        self.assertLess(self.segments_of("Slow", "30"), CALLS / 2)

    def test_no_reply_stays_behind(self):
        for method, value in (("Inline", "x"), ("Loop", "x"), ("Slow", "1")):
            connection = self.connect()
            for burst in (1, 2, 7, 64, 65):
                times = []
                for _ in range(20):
                    begin = time.monotonic()
                    self.call(connection, method, value, burst)
                    times.append(time.monotonic() - begin)
                # One late burst may be the machine's; when each is, it is ours.
                self.assertLess(statistics.median(times), KEPT_BY_THE_KERNEL_S / 2, (method, burst))

    def test_a_call_alone_is_never_kept(self):
        connection = self.connect()
        self.call(connection, "Inline", "x", CALLS)  # after this corking is on
        late = 0
        for _ in range(1000):
            begin = time.monotonic()
            self.call(connection, "Inline", "x", 1)
            late += time.monotonic() - begin >= KEPT_BY_THE_KERNEL_S
        self.assertLess(late, 3)

    def test_several_connections_in_one_turn(self):
        connections = [self.connect() for _ in range(40)]
        for connection in connections:
            connection.socket.settimeout(5)
        begin = time.monotonic()
        for _ in range(10):
            for connection in connections:
                self.call(connection, "Slow", "1", 3)
        self.assertLess(time.monotonic() - begin, 400 * KEPT_BY_THE_KERNEL_S / 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
