"""How fast an address may open streams, and how many: who waits, who does not, and what is forgotten."""

import time
import unittest

import http2
import support
from http2 import END_STREAM, ENHANCE_YOUR_CALM, HEADERS, Connection

PER_S, BURST = 100, 20
OTHER = "127.0.0.2"


def held(n):
    """Calls that the server does not answer."""
    return b"".join(http2.request("Hold", 2 * i + 1) for i in range(n))


def echoes(n):
    return b"".join(http2.request("Echo", 2 * i + 1, "x") for i in range(n))


class Pace(support.Case):
    ARGS = ("--limit", "address-opens=%d:%d" % (PER_S, BURST))

    def answered(self, connection, n):
        """Seconds until all of so many calls have ended."""
        started = time.monotonic()
        for _ in range(n):
            frames = connection.read_until(lambda f: f.kind == HEADERS and f.flags & END_STREAM)
            self.assertTrue(frames, "the server closed the connection")
        return time.monotonic() - started

    def test_calls_that_are_answered_do_not_wait(self):
        connection = Connection(self.server.port, source="127.0.0.3")
        connection.settle()
        connection.send(echoes(900))
        self.assertLess(self.answered(connection, 900), 900 / PER_S / 2)
        connection.close()

    def test_streams_that_are_not_answered_wait_and_nobody_else(self):
        n = BURST + PER_S
        connection = Connection(self.server.port, source="127.0.0.4")
        other = Connection(self.server.port, source=OTHER)
        connection.settle()
        other.settle()
        connection.send(held(n))
        started = time.monotonic()
        other.call("Echo", 1, "x")
        self.assertLess(time.monotonic() - started, 0.5)
        connection.settle()  # its PING comes after the streams
        self.assertGreater(time.monotonic() - started, 0.8)
        connection.close()
        other.close()

    def test_all_connections_of_an_address_wait_together(self):
        connections = [Connection(self.server.port, source="127.0.0.5") for _ in range(2)]
        for connection in connections:
            connection.settle()
        started = time.monotonic()
        for connection in connections:
            connection.send(held(BURST + PER_S // 2))
        for connection in connections:
            connection.settle()
            connection.close()
        self.assertGreater(time.monotonic() - started, 0.8)

    def test_who_hangs_up_is_forgotten_with_what_waits(self):
        connection = Connection(self.server.port, source="127.0.0.6")
        connection.settle()
        before = support.stats(self.channel)["open"]
        connection.send(held(900))
        connection.close()
        support.wait_for(lambda: support.stats(self.channel)["open"] < before, 3)

    def test_many_that_hang_up_at_once_are_all_ended(self):
        before = support.stats(self.channel)
        connections = [Connection(self.server.port, source="127.0.1.%d" % host) for host in range(1, 9)]
        for connection in connections:
            connection.settle()
            connection.send(held(BURST))
            connection.settle()
        for connection in connections:
            connection.close()
        n = len(connections) * BURST
        support.wait_for(lambda: support.stats(self.channel)["cancelled"] - before["cancelled"] >= n)
        self.assertLessEqual(support.stats(self.channel)["open"], before["open"])


class Streams(support.Case):
    ARGS = ("--limit", "address-streams=30")

    def test_streams_of_an_address_are_bounded(self):
        connections = [Connection(self.server.port, source="127.0.0.7") for _ in range(2)]
        for connection in connections:
            connection.settle()
            connection.send(held(20))
        goaway, _ = connections[1].end()
        self.assertEqual(goaway[1], ENHANCE_YOUR_CALM)
        self.assertEqual(support.stats(self.channel)["address_streams"], 1)
        connections[0].settle()
        connections[0].close()
        connections[1].close()
        support.wait_for(lambda: support.stats(self.channel)["open"] == 1)  # the channel's
        again = Connection(self.server.port, source="127.0.0.7")
        again.settle()
        again.send(held(20))
        again.settle()
        again.close()


if __name__ == "__main__":
    unittest.main()
