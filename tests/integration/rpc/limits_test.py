"""How many calls of one method are served at once: who waits, who is refused, who is dropped."""

import subprocess
import threading
import time
import unittest

import grpc

import raw_http2
from support import SERVER, Case, S, Server, message_class, wait_for

BUSY = grpc.StatusCode.RESOURCE_EXHAUSTED


def limit(text):
    return ("--limit", "waymark.test.Echo/" + text)


class WithoutAQueue(Case):
    ARGS = limit("Stuck=2") + limit("Chat=1") + limit("Inline=1")

    def test_more_are_refused_with_a_time_to_come_back(self):
        before = self.server.counters()
        stuck = self.server.method("unary_unary", "Stuck")
        held = [stuck.future(S(value="x")) for _ in range(2)]
        wait_for(lambda: self.server.counters()["messages"] == before["messages"] + 2)
        error, details = self.assertFails(BUSY, "METHOD_BUSY", self.server.unary, "Stuck", "x")
        self.assertIn("Stuck serves 2 calls", error.details())
        delay = details["google.rpc.RetryInfo"].retry_delay
        self.assertEqual((delay.seconds, delay.nanos), (1, 0))
        self.assertEqual(self.server.unary("Loop", "others are served"), "others are served")
        held[0].cancel()
        wait_for(lambda: self.server.counters()["cancelled"] == before["cancelled"] + 1)
        held.append(stuck.future(S(value="x")))
        wait_for(lambda: self.server.counters()["messages"] == before["messages"] + 3)
        for call in held:
            call.cancel()

    def test_streams_hold_a_place_until_they_end(self):
        waiting = threading.Event()

        def messages():
            yield S(value="a")
            waiting.wait(10)

        chat = self.server.method("stream_stream", "Chat")
        first = chat(messages(), timeout=10)
        self.assertEqual(next(first).value, "a")
        self.assertFails(BUSY, "METHOD_BUSY", chat, iter([S(value="b")]), timeout=10)
        waiting.set()
        self.assertEqual(list(first), [])
        wait_for(lambda: self.works(chat))

    def works(self, chat):
        try:
            return [m.value for m in chat(iter([S(value="b")]), timeout=10)] == ["b"]
        except grpc.RpcError:
            return False

    def test_inline_methods_give_their_place_back(self):
        for i in range(300):
            self.assertEqual(self.server.unary("Inline", str(i)), str(i))

    def test_an_answer_that_its_client_does_not_take_holds_no_place(self):
        deaf = raw_http2.Connection(self.server.port, window=0)
        self.addCleanup(deaf.close)
        (stream,) = deaf.ask("/waymark.test.Echo/Inline", 1, S(value="x").SerializeToString())
        deaf.wait(raw_http2.HEADERS, stream)  # it has been answered
        self.assertEqual(self.server.unary("Inline", "x"), "x")

    def test_those_refused_by_an_interceptor_take_no_place(self):
        for _ in range(5):
            self.assertFails(
                grpc.StatusCode.UNAUTHENTICATED, "REFUSED", self.server.unary, "Stuck", metadata=[("x-refuse", "1")]
            )


class WithAQueue(Case):
    ARGS = limit("Slow=1:3:10000") + limit("Stuck=1:3:300") + ("--lanes", "2")

    def setUp(self):
        self.channels = []

    def tearDown(self):
        for channel in self.channels:
            channel.close()

    def start(self, name, value, **kwargs):
        """On a connection of its own, which may be served by another lane."""
        channel = grpc.insecure_channel(
            "127.0.0.1:%d" % self.server.port, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.channels.append(channel)
        method = channel.unary_unary("/waymark.test.Echo/" + name, S.SerializeToString, S.FromString)
        return method.future(S(value=value), **kwargs)

    def test_they_are_served_one_after_another(self):
        started = time.monotonic()
        calls = [self.start("Slow", "200", timeout=20) for _ in range(4)]
        self.assertEqual([call.result().value for call in calls], ["done"] * 4)
        self.assertGreater(time.monotonic() - started, 0.75)
        self.assertEqual(self.server.counters()["slow_peak"], 1)

    def test_a_full_queue_refuses(self):
        calls = [self.start("Slow", "500", timeout=20) for _ in range(8)]
        codes = [call.code() for call in calls]
        self.assertEqual(codes.count(grpc.StatusCode.OK), 4)
        self.assertEqual(codes.count(BUSY), 4)

    def hold(self):
        """Takes the one place of Stuck."""
        before = self.server.counters()["messages"]
        held = self.start("Stuck", "x")
        wait_for(lambda: self.server.counters()["messages"] == before + 1)
        self.addCleanup(held.cancel)
        return held, before + 1

    def test_who_waited_too_long_is_refused(self):
        self.hold()
        started = time.monotonic()
        self.assertFails(BUSY, "METHOD_BUSY", self.server.unary, "Stuck", "x")
        self.assertGreater(time.monotonic() - started, 0.29)
        self.assertLess(time.monotonic() - started, 2)

    def test_who_gives_up_leaves_the_queue_and_costs_nothing(self):
        for leave in ("cancel", "deadline"):
            held, served = self.hold()
            waiting = [self.start("Stuck", "y", timeout=0.15 if leave == "deadline" else 20) for _ in range(3)]
            time.sleep(0.05)
            if leave == "cancel":
                for call in waiting:
                    call.cancel()
            else:
                self.assertEqual({call.code() for call in waiting}, {grpc.StatusCode.DEADLINE_EXCEEDED})
            # The queue has room again, and the next one gets the place once it is free.
            last = self.start("Stuck", "z")
            time.sleep(0.05)
            held.cancel()
            wait_for(lambda: self.server.counters()["messages"] == served + 1)
            last.cancel()
            wait_for(lambda: self.server.counters()["stuck_now"] == 0)
            self.assertEqual(self.server.counters()["messages"], served + 1)

    def test_a_storm_never_exceeds_the_limit_and_leaves_nothing_behind(self):
        stop = time.monotonic() + 2
        codes = []

        def storm(n):
            channel = grpc.insecure_channel(
                "127.0.0.1:%d" % self.server.port, options=[("grpc.use_local_subchannel_pool", 1)]
            )
            method = channel.unary_unary("/waymark.test.Echo/Slow", S.SerializeToString, S.FromString)
            i = n
            while time.monotonic() < stop:
                i += 1
                call = method.future(S(value=str(i % 4)), timeout=(0.002, 0.01, 1)[i % 3])
                if i % 5 == 0:
                    call.cancel()
                    continue
                codes.append(call.code())
            channel.close()

        threads = [threading.Thread(target=storm, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertIn(grpc.StatusCode.OK, codes)
        self.assertLessEqual(
            set(codes), {grpc.StatusCode.OK, BUSY, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
        )
        self.assertEqual(self.server.counters()["slow_peak"], 1)
        self.assertEqual(self.server.unary("Slow", "1"), "done")


class Names(unittest.TestCase):
    def test_the_most_precise_name_counts(self):
        server = Server(*limit("Stuck=2"), "--limit", "*=1", "--limit", "waymark.test.*=3")
        self.addCleanup(server.stop)
        calls = [server.method("unary_unary", "Stuck").future(S(value="x"), timeout=20) for _ in range(2)]
        wait_for(lambda: server.counters()["messages"] == 2)
        with self.assertRaises(grpc.RpcError) as caught:
            server.unary("Stuck", "x")
        self.assertIn("serves 2 calls", caught.exception.details())
        for call in calls:
            call.cancel()

    def test_health_is_never_limited(self):
        server = Server("--limit", "*=1")
        self.addCleanup(server.stop)
        request = message_class("grpc.health.v1.HealthCheckRequest")
        response = message_class("grpc.health.v1.HealthCheckResponse")
        watch = server.method("unary_stream", "/grpc.health.v1.Health/Watch", request, response)
        watches = [watch(request(), timeout=20) for _ in range(3)]
        self.assertEqual([next(each).status for each in watches], [1, 1, 1])
        check = server.method("unary_unary", "/grpc.health.v1.Health/Check", request, response)
        self.assertEqual(check(request(), timeout=20).status, 1)
        for each in watches:
            each.cancel()

    def test_an_unknown_name_is_told(self):
        for text in ("waymark.test.Echo/Nothing=2", "waymark.Test*=1"):
            process = subprocess.run([SERVER, "--limit", text], capture_output=True, timeout=20)
            self.assertEqual(process.returncode, 1)
            self.assertIn(text.partition("=")[0].encode(), process.stderr)


class Stopping(unittest.TestCase):
    def test_those_that_wait_are_served_within_the_grace(self):
        server = Server(*limit("Slow=1:5:10000"), "--grace", "5000")
        calls = [server.method("unary_unary", "Slow").future(S(value="200"), timeout=20) for _ in range(4)]
        wait_for(lambda: server.counters()["slow_now"] == 1)
        code, _ = server.stop()
        self.assertEqual(code, 0)
        self.assertEqual([call.result().value for call in calls], ["done"] * 4)

    def test_and_ended_after_it(self):
        server = Server(*limit("Stuck=1:5:10000"), "--grace", "200")
        calls = [server.method("unary_unary", "Stuck").future(S(value="x"), timeout=20) for _ in range(4)]
        wait_for(lambda: server.counters()["messages"] == 1)
        code, last = server.stop()
        self.assertEqual(code, 0)
        # The place of the first goes to the next one, which may hear only then that its client is gone.
        self.assertIn(last["ended"], range(1, 5))
        for call in calls:
            self.assertIn(call.code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED))


if __name__ == "__main__":
    unittest.main()
