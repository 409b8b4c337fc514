"""Clients that do not take their answers, and calls that are open to everybody: what they hold, and
that nobody else is refused for it."""

import unittest

import grpc

import raw_http2
from support import S, Server, details_of, message_class, samples, wait_for

CHECK = "/grpc.health.v1.Health/Check"
ANSWERS_MIN = 1024  # of a lane may always be on their way


class Places(unittest.TestCase):
    def start(self, *args):
        self.server = Server("--lanes", "1", "--quiet", "--connection", "streams-max=5000", *args)
        self.addCleanup(self.end)

    def end(self):
        code, last = self.server.stop()
        self.assertEqual(code, 0)
        self.assertTrue(last["stopped"])

    def connect(self, window=None, source="127.0.0.1"):
        connection = raw_http2.Connection(self.server.port, window, source)
        self.addCleanup(connection.close)
        return connection

    def in_flight(self):
        return samples(self.server)['waymark_rpc_calls_in_flight{lane="0"}']

    def cut(self):
        return samples(self.server)["waymark_rpc_answers_cut_total"]

    def ended(self, path, code):
        return samples(self.server).get('waymark_rpc_calls_total{method="%s",code="%s"}' % (path, code), 0)

    def assertServes(self):
        """A call that counts, and a probe."""
        request, response = (message_class("grpc.health.v1.HealthCheck" + name) for name in ("Request", "Response"))
        check = self.server.method("unary_unary", CHECK, request, response)
        for name in ("Inline", "Loop"):
            self.assertEqual(self.server.unary(name, "x"), "x")
        self.assertEqual(check(request(), timeout=10).status, 1)


class AnswersThatAreNotTaken(Places):
    def test_refuse_nobody_else(self):
        for path in (CHECK, "/waymark.test.Echo/Inline", "/waymark.test.Echo/Loop"):
            with self.subTest(path):
                self.start("--calls", "20")
                deaf = self.connect(window=0)
                deaf.ask(path, 15, S(value="x").SerializeToString() if path != CHECK else b"")
                wait_for(lambda: self.in_flight() == 15)
                deaf.ask(path, 15, S(value="x").SerializeToString() if path != CHECK else b"")
                wait_for(lambda: self.in_flight() == 30)
                self.assertServes()
                self.assertEqual(self.cut(), 0)
                self.doCleanups()

    def test_end_when_their_time_is_over(self):
        self.start("--answer-ms", "300")
        deaf = self.connect(window=0)
        streams = set(deaf.ask(CHECK, 200))
        ended, data = set(), 0
        for kind, flags, stream, _ in deaf.frames():
            data += kind == raw_http2.DATA
            if kind == raw_http2.HEADERS and flags & raw_http2.END_STREAM:
                ended.add(stream)
            if ended == streams:
                break
        self.assertEqual((ended, data), (streams, 0))
        wait_for(lambda: self.in_flight() == 0)
        self.assertEqual(self.cut(), 200)
        # Each has ended once.
        self.assertEqual((self.ended(CHECK, "CANCELLED"), self.ended(CHECK, "OK")), (200, 0))
        self.assertServes()

    def test_end_also_where_a_stream_ends(self):
        self.start("--answer-ms", "300")
        deaf = self.connect(window=0)
        (stream,) = deaf.ask("/waymark.test.Echo/Count", 1, S(value="1").SerializeToString())
        while not deaf.wait(raw_http2.HEADERS, stream)[0] & raw_http2.END_STREAM:
            pass
        wait_for(lambda: self.in_flight() == 0)
        self.assertEqual(self.cut(), 1)
        self.assertEqual(self.server.counters()["ended"], 1)

    def test_are_not_more_than_so_many(self):
        for path in (CHECK, "/waymark.test.Echo/Inline"):
            with self.subTest(path):
                self.start("--calls", "20", "--open-calls", "20")
                deaf = self.connect(window=0)
                streams = deaf.ask(path, ANSWERS_MIN + 100)
                wait_for(lambda: self.cut() == 100)
                wait_for(lambda: self.in_flight() == ANSWERS_MIN)
                # Those that have waited longest went, and the last one is still to be had.
                deaf.widen(streams[-1], 100)
                deaf.wait(raw_http2.DATA, streams[-1])
                self.assertEqual(self.cut(), 100)
                self.doCleanups()

    def test_of_strangers_cut_none_of_callers(self):
        self.start("--open-calls", "20")
        slow, deaf = self.connect(window=0), self.connect(window=0)
        (result,) = slow.ask("/waymark.test.Echo/Loop", 1, S(value="x").SerializeToString())
        wait_for(lambda: self.in_flight() == 1)
        deaf.ask(CHECK, ANSWERS_MIN + 100)
        wait_for(lambda: self.cut() == 100)
        slow.widen(result, 100)
        slow.wait(raw_http2.DATA, result)
        wait_for(lambda: self.ended("/waymark.test.Echo/Loop", "OK") == 1)

    def test_have_more_time_when_they_are_large(self):
        self.start("--answer-ms", "300")
        slow = self.connect(window=0)
        n = 2000000  # two minutes more
        (large,) = slow.ask("/waymark.test.Echo/Big", 1, S(value=str(n)).SerializeToString())
        wait_for(lambda: self.in_flight() == 1)
        slow.ask("/waymark.test.Echo/Loop", 1, S(value="x").SerializeToString())
        wait_for(lambda: self.cut() == 1)
        slow.widen(large, n + 1000)
        size = 0
        for kind, flags, stream, payload in slow.frames():
            if stream == large and kind == raw_http2.DATA:
                size += len(payload)
            if stream == large and flags & raw_http2.END_STREAM and kind == raw_http2.HEADERS:
                break
        self.assertGreater(size, n)
        wait_for(lambda: self.ended("/waymark.test.Echo/Big", "OK") == 1)
        self.assertEqual(self.cut(), 1)

    def test_refusals_need_no_window(self):
        self.start()
        deaf = self.connect(window=0)
        for name in ("Inline", "Loop", "Count", "Chat"):
            path = "/waymark.test.Echo/" + name
            (stream,) = deaf.ask(path, 1, S(value="1").SerializeToString(), [("x-refuse", "1")])
            self.assertTrue(deaf.wait(raw_http2.HEADERS, stream)[0] & raw_http2.END_STREAM)
        wait_for(lambda: self.in_flight() == 0)


WATCH = "/grpc.health.v1.Health/Watch"
REFLECT = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


class OpenToEverybody(Places):
    REQUEST = message_class("grpc.health.v1.HealthCheckRequest")
    RESPONSE = message_class("grpc.health.v1.HealthCheckResponse")

    def watch(self):
        return self.server.method("unary_stream", WATCH, self.REQUEST, self.RESPONSE)(self.REQUEST(), timeout=20)

    def flood(self, method, source, n):
        """Streams that are opened and never ended; of reflection not even asked anything."""
        connection = self.connect(source=source)
        connection.ask(WATCH, n) if method == WATCH else connection.open(REFLECT, n)
        connection.ping()
        return connection

    def refused(self):
        return samples(self.server)['waymark_rpc_refused_total{reason="TOO_MANY_CALLS"}']

    def test_a_flood_of_streams_refuses_nobody_else(self):
        for method in (WATCH, REFLECT):
            with self.subTest(method):
                self.start("--calls", "20", "--open-calls", "40")
                for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
                    before = self.refused()
                    self.flood(method, source, 30)
                    wait_for(lambda: self.refused() == before + 20)
                wait_for(lambda: self.in_flight() == 30)
                self.assertServes()
                watches = [self.watch() for _ in range(10)]
                self.assertEqual([next(watch).status for watch in watches], [1] * 10)
                for watch in watches:
                    watch.cancel()
                self.doCleanups()

    def test_the_refusal_says_when_to_come_back(self):
        self.start("--open-calls", "8")
        held = [self.watch() for _ in range(2)]
        self.assertEqual([next(watch).status for watch in held], [1, 1])
        with self.assertRaises(grpc.RpcError) as caught:
            next(self.watch())
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertIn("8 streams of health and reflection", caught.exception.details())
        _, details = details_of(caught.exception)
        self.assertEqual(details["google.rpc.ErrorInfo"].reason, "TOO_MANY_CALLS")
        self.assertEqual(details["google.rpc.RetryInfo"].retry_delay.seconds, 1)
        # Who goes makes room.
        held[0].cancel()
        wait_for(self.can_watch)

    def can_watch(self):
        watch = self.watch()
        try:
            return next(watch).status == 1
        except grpc.RpcError:
            return False
        finally:
            watch.cancel()

    def test_there_are_not_more_than_so_many(self):
        self.start("--open-calls", "8")
        for i in range(2, 6):
            self.flood(WATCH, "127.0.0.%d" % i, 2)
        wait_for(lambda: self.in_flight() == 8)
        last = self.flood(WATCH, "127.0.0.6", 2)
        wait_for(lambda: self.refused() == 2)
        self.assertServes()
        last.close()
        wait_for(lambda: self.in_flight() == 8)

    def test_they_may_be_more_than_calls_at_work(self):
        self.start("--calls", "5")
        connection = self.flood(WATCH, "127.0.0.1", 50)
        wait_for(lambda: self.in_flight() == 50)
        self.assertEqual(self.refused(), 0)
        self.assertServes()
        connection.close()
        wait_for(lambda: self.in_flight() == 0)


if __name__ == "__main__":
    unittest.main()
