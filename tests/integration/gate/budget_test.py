"""What a hostile client may not do, on raw frames: each budget breached, and what it notices."""

import socket
import struct
import threading
import time
import unittest

import http2
import support
from http2 import CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY
from http2 import RST_STREAM, SETTINGS, WINDOW_UPDATE, Connection, frame

CANCEL = struct.pack(">I", 8)
CUT_SECONDS = 0.1
CUT_LINGER_S = 0.08  # GATE_CUT_LINGER_US


def odd(n):
    return 2 * n + 1


def open_stream(n):
    return frame(HEADERS, END_HEADERS, odd(n), http2.headers_of("Hold"))


# name of the breach -> one step of the flood
FLOODS = {
    "resets": lambda n: open_stream(n) + frame(RST_STREAM, 0, odd(n), CANCEL),
    "streams": open_stream,
    "settings": lambda n: frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)),
    "pings": lambda n: frame(PING, 0, 0, b"12345678"),
    "priorities": lambda n: frame(PRIORITY, 0, odd(n), struct.pack(">IB", 0, 1)),
    "window_updates": lambda n: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)),
    "empty_data": lambda n: (open_stream(0) if n == 0 else b"") + frame(DATA, 0, 1),
    "other_frames": lambda n: frame(0xFA, 0, 0, b"grease"),
    "header_frames": lambda n: frame(HEADERS, 0, 1, b"") if n == 0 else frame(CONTINUATION, 0, 1, b"x"),
    "header_bytes": lambda n: frame(HEADERS, 0, 1, b"") if n == 0 else frame(CONTINUATION, 0, 1, b"x" * 16000),
    "frame_size": lambda n: frame(PING, 0, 0, b"123456789"),
}


class Floods(support.Case):
    ARGS = (
        "--limit", "resets=10:50",
        "--limit", "streams=100",
        "--limit", "settings=10:40",
        "--limit", "pings=10:50",
        "--limit", "priorities=10:50",
        "--limit", "window-updates=10:300",
        "--limit", "empty-data=10:50",
        "--limit", "other-frames=10:50",
    )

    def flood(self, step, n=3000):
        """Sends until it is cut; GOAWAY, and the seconds from the last byte sent to the end."""
        connection = Connection(self.server.port)
        connection.settle()
        blob = b"".join(step(i) for i in range(n))
        started = time.monotonic()
        connection.send(blob)
        goaway, _ = connection.end()
        seconds = time.monotonic() - started
        connection.close()
        return goaway, seconds


def add_flood(name, step):
    def test(self):
        before = support.stats(self.channel)[name]
        goaway, seconds = self.flood(step)
        self.assertIsNotNone(goaway, "no GOAWAY")
        self.assertEqual(goaway[1], http2.ENHANCE_YOUR_CALM)
        self.assertLess(seconds, CUT_SECONDS * self.server.memory_factor)
        after = support.stats(self.channel)
        self.assertEqual(after[name], before + 1)
        self.assertEqual(support.call(self.channel, "Echo", "alive"), "alive")

    setattr(Floods, "test_%s_are_cut" % name, test)


for flood_name, flood_step in FLOODS.items():
    add_flood(flood_name, flood_step)


class Cuts(support.Case):
    """How a connection is cut."""

    ARGS = ("--limit", "resets=10:50", "--limit", "pings=10:50")

    def test_goaway_names_the_last_stream_that_was_passed_on(self):
        connection = Connection(self.server.port)
        self.addCleanup(connection.close)
        connection.settle()
        self.assertIn(b"hello", connection.call("Echo", 1, "hello"))
        connection.send(open_stream(1) + open_stream(2))
        connection.settle()
        # One write, inspected as a whole: its streams were never begun.
        connection.send(open_stream(3) + frame(PING, 0, 0, b"12345678") * 200)
        goaway, _ = connection.end()
        self.assertEqual(goaway, (odd(2), http2.ENHANCE_YOUR_CALM))

    def test_calls_of_a_cut_connection_are_cancelled(self):
        before = support.stats(self.channel)
        connection = Connection(self.server.port)
        self.addCleanup(connection.close)
        for n in range(5):
            connection.send(http2.request("Hold", odd(n)))
        support.wait_for_stats(self.channel, held_calls=before["held_calls"] + 5)
        connection.send(frame(PING, 0, 0, b"12345678") * 200)
        connection.end()
        support.wait_for_stats(self.channel, cancelled=before["cancelled"] + 5)

    def test_goaway_stands_between_frames_of_a_stream_in_full_flow(self):
        n_late = 0
        for _ in range(5):
            while not self.is_told_in_full_flow():
                n_late += 1
                self.assertLess(n_late, 20)

    def is_told_in_full_flow(self):
        """Not, when this client has not read in time what was on its way before the GOAWAY."""
        connection = Connection(self.server.port)
        self.addCleanup(connection.close)
        connection.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**30)))
        connection.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**30)))
        connection.settle()
        connection.send(http2.request("Count", 1, "1000 100000"))
        connection.read_until(lambda f: f.kind == DATA)
        began = time.monotonic()
        connection.send(frame(PING, 0, 0, b"12345678") * 2000)
        frames = connection.read_until(lambda f: f.kind == GOAWAY)
        if not frames or frames[-1].kind != GOAWAY:
            self.assertGreater(time.monotonic() - began, CUT_LINGER_S)
            return False
        self.assertEqual(struct.unpack(">II", frames[-1].payload[:8]), (1, http2.ENHANCE_YOUR_CALM))
        self.assertEqual(connection.end(), (None, []))
        return True

    def test_others_notice_nothing(self):
        stop = threading.Event()
        slowest = []

        def attack():
            while not stop.is_set():
                connection = Connection(self.server.port)
                connection.send(b"".join(FLOODS["resets"](n) for n in range(2000)))
                connection.end()
                connection.close()

        attackers = [threading.Thread(target=attack) for _ in range(2)]
        for attacker in attackers:
            attacker.start()
        rss = self.server.rss_kb()
        try:
            for i in range(300):
                started = time.monotonic()
                self.assertEqual(support.call(self.channel, "Echo", str(i)), str(i))
                slowest.append(time.monotonic() - started)
        finally:
            stop.set()
            for attacker in attackers:
                attacker.join()
        slowest.sort()
        self.assertLess(slowest[len(slowest) // 2], 0.05 * self.server.memory_factor)
        self.assertLess(self.server.rss_kb() - rss, 50000 * self.server.memory_factor)
        self.assertGreater(support.stats(self.channel)["resets"], 0)

    def test_a_cancelling_client_that_also_works_is_not_cut(self):
        connection = Connection(self.server.port)
        stream = 1
        for _ in range(300):
            for _ in range(2):
                connection.call("Echo", stream, "work")
                stream += 2
            connection.send(http2.request("Hold", stream) + frame(RST_STREAM, 0, stream, CANCEL))
            stream += 2
        connection.settle()
        connection.close()

    def test_the_log_says_why_without_drowning(self):
        for _ in range(30):
            connection = Connection(self.server.port)
            connection.send(frame(PING, 0, 0, b"12345678") * 100)
            connection.end()
            connection.close()
        text = self.server.log_text()
        self.assertIn('"why":"pings"', text)
        self.assertIn('"peer":"ipv4:127.0.0.1:', text)
        self.assertLess(text.count('"why":"pings"'), 30)


class Times(support.Case):
    ARGS = (
        "--limit", "handshake-ms=300",
        "--limit", "preface-ms=300",
        "--limit", "header-ms=300",
        "--limit", "frame-stall-ms=300",
        "--limit", "slow-reader-ms=500",
        "--limit", "idle-ms=1500",
    )

    def assertCut(self, name, connection, code=http2.ENHANCE_YOUR_CALM, seconds=2):
        started = time.monotonic()
        goaway, _ = connection.end()
        self.assertLess(time.monotonic() - started, seconds * self.server.memory_factor)
        self.assertEqual(goaway[1] if goaway else None, code)
        self.assertGreater(support.stats(self.channel)[name], 0)
        connection.close()

    def test_a_client_that_says_nothing(self):
        self.assertCut("preface_time", Connection(self.server.port, preface=False), code=None)

    def test_half_a_preface(self):
        connection = Connection(self.server.port, preface=False)
        connection.send(http2.PREFACE[:10])
        self.assertCut("preface_time", connection, code=None)

    def test_no_http2(self):
        connection = Connection(self.server.port, preface=False)
        connection.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertCut("bad_preface", connection, code=None, seconds=0.3)

    def test_a_preface_byte_by_byte_is_fine(self):
        connection = Connection(self.server.port, preface=False)
        for byte in http2.PREFACE + frame(SETTINGS, 0, 0):
            connection.send(bytes([byte]))
        self.assertIn(b"hello", connection.call("Echo", 1, "hello"))
        connection.close()

    def test_slow_headers(self):
        connection = Connection(self.server.port)
        connection.settle()
        connection.send(frame(HEADERS, 0, 1, http2.headers_of("Hold")))
        stop = threading.Event()

        def drip():
            # A byte now and then does not help.
            while not stop.wait(0.05) and connection.send(frame(CONTINUATION, 0, 1)):
                pass

        dripper = threading.Thread(target=drip)
        dripper.start()
        self.assertCut("header_time", connection)
        stop.set()
        dripper.join()

    def test_a_body_that_stops_in_the_middle_of_a_frame(self):
        connection = Connection(self.server.port)
        connection.settle()
        connection.send(open_stream(0) + frame(DATA, 0, 1, b"x" * 100)[:50])
        self.assertCut("frame_stalled", connection)

    def test_an_idle_stream_is_legal(self):
        connection = Connection(self.server.port)
        connection.send(http2.request("Hold", 1))
        connection.settle()
        before = support.stats(self.channel)
        # Longer than any limit; others come and go meanwhile.
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            self.assertEqual(support.call(self.channel, "Echo", "x"), "x")
            time.sleep(0.1)
        connection.settle()
        self.assertEqual(support.stats(self.channel)["frame_stalled"], before["frame_stalled"])
        connection.close()

    def test_a_connection_without_streams_is_told_to_go_politely(self):
        connection = Connection(self.server.port)
        connection.call("Echo", 1, "x")
        self.assertCut("idle", connection, code=0, seconds=4)

    def test_a_reader_that_takes_nothing(self):
        connection = Connection(self.server.port)
        connection.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**30)))
        connection.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**30)))
        connection.settle()
        connection.send(http2.request("Count", 1, "1000 100000"))
        support.wait_for(lambda: support.stats(self.channel)["held"] > 0)
        support.wait_for(lambda: support.stats(self.channel)["slow_reader"] > 0)
        support.wait_for(lambda: support.stats(self.channel)["held"] == 0)
        connection.close()


class Addresses(support.Case):
    ARGS = ("--limit", "address-connections=10", "--limit", "address-handshakes=10:60", "--limit", "connections=30")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        support.call(cls.channel, "Echo")

    def is_served(self, connection):
        try:
            connection.settle()
        except OSError:
            return False
        return True

    def test_connections_of_one_address_are_bounded_others_are_served(self):
        connections = [Connection(self.server.port, source="127.0.0.2") for _ in range(12)]
        served = [self.is_served(connection) for connection in connections]
        self.assertEqual(served, [True] * 10 + [False] * 2)
        self.assertEqual(support.stats(self.channel)["address_connections"], 2)
        other = Connection(self.server.port, source="127.0.0.3")
        self.assertTrue(self.is_served(other))
        connections[0].close()
        # Its place is free as soon as the gate has seen it go.
        support.wait_for(lambda: support.stats(self.channel)["open"] <= 11)
        connections.append(Connection(self.server.port, source="127.0.0.2"))
        self.assertTrue(self.is_served(connections[-1]))
        for connection in connections + [other]:
            connection.close()

    def test_handshakes_per_time_are_bounded(self):
        n = 0
        for n in range(500):
            connection = Connection(self.server.port, source="127.0.0.4", preface=False)
            connection.send(b"no")
            connection.close()
            if support.stats(self.channel)["address_handshakes"] > 0:
                break
        self.assertGreaterEqual(n, 55)
        self.assertLess(n, 200)

    def test_connections_of_all_are_bounded(self):
        connections = []
        for host in range(10, 15):
            for _ in range(8):
                connections.append(Connection(self.server.port, source="127.0.0.%d" % host, preface=False))
        support.wait_for(lambda: support.stats(self.channel)["connections"] > 0)
        self.assertLessEqual(support.stats(self.channel)["open"], 30)
        for connection in connections:
            connection.close()
        support.wait_for(lambda: support.stats(self.channel)["open"] < 10)


class Held(support.Case):
    """What waits because its address opens too many streams is bounded, and costs others nothing."""

    HELD_BYTES = 1000000
    ARGS = ("--limit", "held-bytes=%d" % HELD_BYTES, "--limit", "address-opens=10:5")

    def attack(self, n):
        """Connections that have sent more streams than their address may open."""
        streams = b"".join(http2.request("Hold", odd(i)) for i in range(1600))
        for _ in range(n):
            connection = Connection(self.server.port, source="127.0.0.2")
            self.addCleanup(connection.close)
            connection.socket.setblocking(False)
            try:
                connection.socket.send(streams)
            except OSError:
                pass  # the server does not take it all

    def assertStaysBelow(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.assertLess(support.stats(self.channel)["held"], self.HELD_BYTES)
            time.sleep(0.01)

    def assertSlowReaderIsServed(self):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
            sock.settimeout(20)
            sock.bind(("127.0.0.3", 0))
            sock.connect(("127.0.0.1", self.server.port))
            connection = Connection(self.server.port, sock=sock)
            connection.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**30)))
            connection.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**30)))
            connection.settle()
            connection.send(http2.request("Count", 1, "1000 30000"))
            self.assertStaysBelow(0.3)
            frames = connection.read_until(lambda f: f.kind == HEADERS and f.flags & END_STREAM)
            self.assertGreater(sum(len(f.payload) for f in frames if f.kind == DATA), 1000 * 30000)

    def test_a_few_that_wait_are_cut_as_little_as_others(self):
        before = support.stats(self.channel)["held_bytes"]
        self.attack(10)
        support.wait_for(lambda: support.stats(self.channel)["held"] > self.HELD_BYTES / 2)
        self.assertStaysBelow(0.5)
        self.assertSlowReaderIsServed()
        self.assertEqual(support.stats(self.channel)["held_bytes"], before)

    def test_of_many_that_wait_some_are_cut_and_nobody_else(self):
        before = support.stats(self.channel)["held_bytes"]
        self.attack(200)
        support.wait_for(lambda: support.stats(self.channel)["held_bytes"] > before)
        self.assertStaysBelow(0.5)
        self.assertSlowReaderIsServed()


class Idle(support.Case):
    """Thousands of connections that say nothing cost little."""

    ARGS = ("--limit", "address-connections=100000", "--limit", "address-handshakes=100000:100000")

    def test_memory(self):
        support.call(self.channel, "Echo")
        rss = self.server.rss_kb()
        sockets = []
        for _ in range(3000):
            sockets.append(socket.create_connection(("127.0.0.1", self.server.port)))
        support.wait_for(lambda: support.stats(self.channel)["open"] > 3000)
        grown = self.server.rss_kb() - rss
        self.assertLess(grown, 10000 * self.server.memory_factor)
        for idle in sockets:
            idle.close()
        support.wait_for(lambda: support.stats(self.channel)["open"] < 10)


if __name__ == "__main__":
    unittest.main()
