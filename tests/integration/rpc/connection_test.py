"""Connections: how old and how idle they may get, pings both ways, and how much one may carry."""

import os
import tempfile
import time
import unittest

import grpc

import raw_http2
from support import S, Server, wait_for


class Connections(unittest.TestCase):
    def start(self, *numbers):
        """A server with these numbers of rpc_connection_config."""
        server = Server(*[arg for number in numbers for arg in ("--connection", number)])
        self.addCleanup(server.stop)
        return server

    def connect(self, server):
        connection = raw_http2.Connection(server.port)
        self.addCleanup(connection.close)
        connection.ping()
        return connection

    def goes_away(self, connection):
        """The GOAWAY's error code and text; how long it took."""
        started = time.monotonic()
        _, payload = connection.wait(raw_http2.GOAWAY)
        return int.from_bytes(payload[4:8], "big"), payload[8:], time.monotonic() - started


class Age(Connections):
    def test_a_client_goes_on_over_new_connections(self):
        server = self.start("age-max-ms=300", "age-grace-ms=2000")
        peers, until = set(), time.monotonic() + 3
        while time.monotonic() < until:
            # No call fails, though connections end all the time: GOAWAY lets those begun go on.
            peers.add(server.unary("Context"))
            time.sleep(0.005)
        self.assertGreater(len({self.peer(seen) for seen in peers}), 4)

    def peer(self, seen):
        return seen.partition('"peer": "')[2].partition('"')[0]

    def test_calls_that_have_begun_go_on_in_the_grace(self):
        server = self.start("age-max-ms=300", "age-grace-ms=20000")
        self.assertEqual(server.unary("Slow", "1500"), "done")

    def test_and_end_after_it(self):
        server = self.start("age-max-ms=200", "age-grace-ms=300")
        started = time.monotonic()
        with self.assertRaises(grpc.RpcError) as caught:
            server.unary("Stuck", "x", timeout=20)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertLess(time.monotonic() - started, 5)
        wait_for(lambda: server.counters()["stuck_now"] == 0)

    def test_the_client_is_told(self):
        connection = self.connect(self.start("age-max-ms=200"))
        code, _, seconds = self.goes_away(connection)
        self.assertEqual(code, 0)
        self.assertLess(seconds, 5)


class Idle(Connections):
    def test_an_idle_connection_ends_and_one_with_a_stream_does_not(self):
        server = self.start("idle-max-ms=200")
        idle = self.connect(server)
        watching = server.method("unary_stream", "Watch")(S(value="x"), timeout=20)
        self.assertEqual(next(watching).value, "x")
        _, text, seconds = self.goes_away(idle)
        self.assertEqual(text, b"enter idle")
        self.assertLess(seconds, 5)
        time.sleep(0.5)
        self.assertTrue(watching.is_active())
        watching.cancel()

    def test_a_client_that_was_idle_connects_again(self):
        server = self.start("idle-max-ms=100")
        peers = set()
        for _ in range(3):
            peers.add(server.unary("Context"))
            time.sleep(0.4)
        self.assertEqual(len(peers), 3)


class Pings(Connections):
    def test_a_client_that_does_not_answer_is_dropped(self):
        server = self.start("keepalive-ms=200", "keepalive-timeout-ms=300")
        connection = self.connect(server)
        watch = connection.open("/waymark.test.Echo/Watch")
        connection.send(watch, b"\0\0\0\0\0", raw_http2.END_STREAM)
        connection.wait(raw_http2.DATA, watch)
        started = time.monotonic()
        list(connection.frames())  # until the server closes
        self.assertLess(time.monotonic() - started, 5)
        wait_for(lambda: server.counters()["cancelled"] == 1)

    def test_a_silent_client_that_answers_stays(self):
        server = self.start("keepalive-ms=100", "keepalive-timeout-ms=500")
        connection = self.connect(server)
        answered = 0
        for kind, flags, _, payload in connection.frames():
            if kind == raw_http2.PING and not flags & raw_http2.ACK:
                connection.socket.sendall(raw_http2.frame(raw_http2.PING, raw_http2.ACK, 0, payload))
                answered += 1
            # More than the two that the core would send by itself without data.
            if answered == 5:
                break
        self.assertEqual(answered, 5)

    def test_a_client_that_pings_too_often_is_sent_away(self):
        server = self.start("client-ping-min-ms=60000", "ping-strikes-max=3")
        connection = self.connect(server)
        pings = [raw_http2.frame(raw_http2.PING, 0, 0, b"%8d" % i) for i in range(10)]
        connection.socket.sendall(b"".join(pings))
        code, text, _ = self.goes_away(connection)
        self.assertEqual((code, text), (raw_http2.ENHANCE_YOUR_CALM, b"too_many_pings"))
        self.assertEqual(server.unary("Loop", "others are served"), "others are served")

    def test_one_that_keeps_the_interval_is_not(self):
        server = self.start("client-ping-min-ms=20")
        connection = self.connect(server)
        for i in range(20):
            time.sleep(0.03)
            connection.ping()


class Bounds(Connections):
    def test_more_streams_than_allowed_wait_in_a_good_client(self):
        server = self.start("streams-max=3")
        slow = server.method("unary_unary", "Slow")
        calls = [slow.future(S(value="200"), timeout=20) for _ in range(7)]
        self.assertEqual([call.result().value for call in calls], ["done"] * 7)
        self.assertEqual(server.counters()["slow_peak"], 3)

    def test_and_cost_a_bad_one_its_connection(self):
        server = self.start("streams-max=3")
        connection = self.connect(server)
        connection.open("/waymark.test.Echo/Stuck", 4)
        self.assertLessEqual(len([f for f in connection.frames() if f[0] == raw_http2.RST_STREAM]), 3)
        wait_for(lambda: server.counters()["stuck_now"] == 0)

    def test_metadata(self):
        server = self.start("metadata-size-max=8192")
        value = "x" * 7000
        self.assertEqual(server.unary("Loop", "x", metadata=[("x-long", value)]), "x")
        with self.assertRaises(grpc.RpcError) as caught:
            server.unary("Loop", "x", metadata=[("x-long", value + value)])
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertIn("metadata size exceeds limit", caught.exception.details())
        # It costs the connection, so the next call may meet the end of that.
        wait_for(lambda: self.is_alive(server))

    def is_alive(self, server):
        try:
            return server.unary("Loop", "alive") == "alive"
        except grpc.RpcError:
            return False


class Listeners(Connections):
    def test_a_unix_socket_beside_a_port(self):
        with tempfile.TemporaryDirectory() as directory:
            path = "unix:" + os.path.join(directory, "socket")
            server = Server("--unix", path)
            try:
                with grpc.insecure_channel(path) as channel:
                    method = channel.unary_unary("/waymark.test.Echo/Context", S.SerializeToString, S.FromString)
                    self.assertIn('"peer": "unix:', method(S(), timeout=10).value)
                self.assertIn('"peer": "ipv4:', server.unary("Context"))
            finally:
                self.assertEqual(server.stop()[0], 0)

    def test_stopping_at_once(self):
        server = Server("--grace", "0")
        calls = [server.method("unary_unary", "Stuck").future(S(value="x"), timeout=20) for _ in range(50)]
        wait_for(lambda: server.counters()["stuck_now"] == 50)
        started = time.monotonic()
        code, last = server.stop()
        self.assertEqual((code, last["cancelled"], last["ended"]), (0, 50, 50))
        self.assertLess(time.monotonic() - started, 5)
        self.assertLessEqual({c.code() for c in calls}, {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})


if __name__ == "__main__":
    unittest.main()
