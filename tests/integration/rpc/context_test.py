"""What a handler and the log know of a call, compression, deadlines, and answers that may not be given."""

import json
import signal
import time
import unittest
import zlib

import grpc

import raw_http2
from support import Case, S, Server, wait_for

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Context(Case):
    def context(self, **kwargs):
        return json.loads(self.server.unary("Context", **kwargs))

    def test_the_trace_of_the_client_goes_on(self):
        seen = self.context(metadata=[("traceparent", "00-%s-00f067aa0ba902b7-01" % TRACE)])
        self.assertTrue(seen["has_parent"])
        version, trace, span, flags = seen["traceparent"].split("-")
        self.assertEqual((version, trace, flags), ("00", TRACE, "01"))
        line = self.logged(lambda line: line.get("trace") == TRACE)
        # Our span is the call's id, by which the log finds it.
        self.assertEqual(line["call"], span)

    def logged(self, match):
        found = []

        def look():
            found[:] = [line for line in self.server.log_lines() if match(line)]
            return found

        wait_for(look)
        return found[0]

    def test_without_one_a_trace_begins_here(self):
        first, second = self.context(), self.context()
        self.assertFalse(first["has_parent"])
        self.assertRegex(first["traceparent"], "^00-[0-9a-f]{32}-[0-9a-f]{16}-00$")
        self.assertNotEqual(first["trace"], second["trace"])

    def test_a_damaged_trace_is_none(self):
        for text in ("00-%s-00f067aa0ba902b7" % TRACE, "ff-%s-00f067aa0ba902b7-01" % TRACE, "x"):
            self.assertFalse(self.context(metadata=[("traceparent", text)])["has_parent"], text)

    def test_internal_errors_name_the_trace(self):
        trace = "0af7651916cd43dd8448eb211c80319c"
        self.assertFails(
            grpc.StatusCode.INTERNAL, "INTERNAL", self.server.unary, "Fail", "internal",
            metadata=[("traceparent", "00-%s-b7ad6b7169203331-00" % trace)],
        )
        self.logged(lambda line: line["msg"] == "internal error" and line["trace"] == trace)

    def test_peer_subject_and_method(self):
        seen = self.context(metadata=[("x-subject", "1")])
        self.assertRegex(seen["peer"], r"^ipv4:127\.0\.0\.1:\d+$")
        self.assertEqual(seen["subject"], "somebody")
        self.assertEqual(seen["path"], "/waymark.test.Echo/Context")
        self.logged(lambda line: line.get("subject") == "somebody" and line["peer"] == seen["peer"])

    def test_the_peer_of_a_cancelled_call_is_logged(self):
        before = self.server.counters()
        for kind, name in (("unary_unary", "Stuck"), ("unary_stream", "Watch")):
            call = self.server.method(kind, name)
            call = call.future(S(value="x")) if kind == "unary_unary" else call(S(value="x"))
            time.sleep(0.1)
            call.cancel()
        wait_for(lambda: self.server.counters()["cancelled"] == before["cancelled"] + 2)
        wait_for(lambda: len(self.cancelled_lines()) >= 2)
        for line in self.cancelled_lines():
            self.assertRegex(line["peer"], r"^ipv4:127\.0\.0\.1:\d+$")

    def cancelled_lines(self):
        lines = [line for line in self.server.log_lines() if line.get("code") == "CANCELLED"]
        return [line for line in lines if line["method"].endswith(("/Stuck", "/Watch"))]


class Deadlines(Case):
    def test_none(self):
        seen = self.server.method("unary_unary", "Context")(S()).value
        self.assertEqual(json.loads(seen)["deadline_ms"], -1)

    def test_of_the_client(self):
        seen = json.loads(self.server.unary("Context", timeout=20))["deadline_ms"]
        self.assertGreater(seen, 15000)
        self.assertLess(seen, 21000)

    def raw_context(self, timeout):
        connection = raw_http2.Connection(self.server.port)
        self.addCleanup(connection.close)
        stream = connection.open("/waymark.test.Echo/Context", headers=[("grpc-timeout", timeout)])
        connection.send(stream, b"\0\0\0\0\0", raw_http2.END_STREAM)
        connection.acknowledge()
        return connection, stream

    def test_absurd_ones(self):
        # The longest that the format allows is 11,000 years; more digits are not the format.
        for timeout in ("99999999H", "99999999M", "999999999S"):
            connection, stream = self.raw_context(timeout)
            _, data = connection.wait(raw_http2.DATA, stream)
            self.assertIn(b"deadline_ms", data, timeout)
        for timeout in ("x", "-5S", "5"):
            connection, stream = self.raw_context(timeout)
            connection.ping()
        self.assertEqual(self.server.unary("Loop", "alive"), "alive")

    def test_passed_ones_cost_no_handler(self):
        before = self.server.counters()
        connection = raw_http2.Connection(self.server.port)
        self.addCleanup(connection.close)
        for name in ("Stuck", "Inline", "Collect", "Watch") * 5:
            stream = connection.open("/waymark.test.Echo/" + name, headers=[("grpc-timeout", "1n")])
            time.sleep(0.005)
            connection.send(stream, b"\0\0\0\0\0", raw_http2.END_STREAM)
        connection.ping()
        wait_for(lambda: self.server.counters()["stuck_now"] == 0)
        after = self.server.counters()
        self.assertEqual((after["messages"], after["ended"]), (before["messages"], before["ended"]))


class Cancelling(Case):
    def test_a_handler_hears_of_it_within_a_millisecond(self):
        """From the reset in the client's socket to cancelled(), the best of some: the machine may be busy."""
        waits = []
        connection = raw_http2.Connection(self.server.port)
        connection.ping()
        for _ in range(20):
            before = self.server.counters()
            stream = connection.open("/waymark.test.Echo/CancelTime")
            connection.send(stream, b"\0\0\0\0\0", raw_http2.END_STREAM)
            wait_for(lambda: self.server.counters()["messages"] == before["messages"] + 1)
            reset = raw_http2.frame(raw_http2.RST_STREAM, 0, stream, b"\0\0\0\x08")
            now = time.monotonic_ns() // 1000
            connection.socket.sendall(reset)
            wait_for(lambda: self.server.counters()["cancelled"] == before["cancelled"] + 1)
            waits.append(self.server.counters()["cancelled_at_us"] - now)
        connection.close()
        self.assertGreater(min(waits), 0)
        self.assertLess(min(waits), 1000 * self.server.ports["memory_factor"], waits)
        print("cancelled() after (us):", sorted(waits))


class Compression(unittest.TestCase):
    """On the wire: the first byte of a message says whether it is compressed."""

    VALUE = "compress me " * 1000

    def start(self, *args):
        server = Server(*args)
        self.addCleanup(server.stop)
        return server

    def answer(self, server, name, accept, value=None):
        connection = raw_http2.Connection(server.port)
        self.addCleanup(connection.close)
        headers = [("grpc-accept-encoding", accept)] if accept else []
        stream = connection.open("/waymark.test.Echo/" + name, headers=headers)
        message = S(value=value or self.VALUE).SerializeToString()
        connection.send(stream, b"\0" + len(message).to_bytes(4, "big") + message, raw_http2.END_STREAM)
        connection.acknowledge()
        data = b""
        while len(data) < 5 or len(data) < 5 + int.from_bytes(data[1:5], "big"):
            data += connection.wait(raw_http2.DATA, stream)[1]
        return data[0], data[5 : 5 + int.from_bytes(data[1:5], "big")]

    def test_only_of_the_methods_that_are_named(self):
        server = self.start("--compress", "waymark.test.Echo/Loop")
        flag, data = self.answer(server, "Loop", "identity,deflate,gzip")
        self.assertEqual(flag, 1)
        self.assertLess(len(data), 500)
        self.assertEqual(S.FromString(zlib.decompress(data, 32 + 15)).value, self.VALUE)
        flag, data = self.answer(server, "Inline", "identity,deflate,gzip")
        self.assertEqual((flag, S.FromString(data).value), (0, self.VALUE))

    def test_only_for_clients_that_accept_it(self):
        server = self.start("--compress", "waymark.test.Echo/*")
        for name in ("Loop", "Inline"):
            for accept in (None, "identity", "br,zstd"):
                flag, data = self.answer(server, name, accept)
                self.assertEqual((flag, S.FromString(data).value), (0, self.VALUE))
            self.assertEqual(self.answer(server, name, "gzip")[0], 1)

    def test_streams(self):
        server = self.start("--compress", "waymark.test.Echo/Count")
        flag, data = self.answer(server, "Count", "gzip", "3")
        self.assertEqual(flag, 1)
        self.assertLess(len(data), 500)

    def test_stock_clients_read_it(self):
        server = self.start("--compress", "*")
        self.assertEqual(server.unary("Loop", self.VALUE), self.VALUE)
        self.assertEqual(len(list(server.method("unary_stream", "Count")(S(value="50"), timeout=10))), 50)

    def test_requests_only_where_it_is_allowed(self):
        for args, code in (((), grpc.StatusCode.UNIMPLEMENTED), (("--take-compressed",), None)):
            server = self.start("--compress", "*", *args)
            method = server.method("unary_unary", "Loop")
            call = method.future(S(value=self.VALUE), timeout=10, compression=grpc.Compression.Gzip)
            self.assertEqual(call.code(), code or grpc.StatusCode.OK)

    def test_a_compressed_request_that_is_too_big_is_refused_all_the_same(self):
        server = self.start("--take-compressed", "--message-size", "10000")
        call = server.method("unary_unary", "Loop").future(
            S(value="x" * 1000000), timeout=10, compression=grpc.Compression.Gzip
        )
        self.assertEqual(call.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)


class Answers(unittest.TestCase):
    """A handler answers once: two answers, or none, end the process and say which call it was."""

    def end(self, name, *args):
        server = Server("--stop-wait", "300", "--grace", "100", *args)
        call = server.method("unary_unary", name).future(S(value="x"), timeout=20)
        if name == "Never":
            wait_for(lambda: server.counters()["messages"] == 1)
            server.process.send_signal(signal.SIGTERM)
        server.process.communicate(timeout=30)
        self.assertEqual(server.process.returncode, -signal.SIGABRT)
        self.assertNotEqual(call.code(), None)
        server.channel.close()
        lines = server.log_lines(strict=False)
        server.log.close()
        return lines

    def test_two(self):
        (line,) = [line for line in self.end("Twice") if line["msg"] == "a call was answered twice"]
        self.assertEqual((line["level"], line["method"]), ("error", "/waymark.test.Echo/Twice"))

    def test_none(self):
        lines = self.end("Never")
        (line,) = [line for line in lines if line["msg"] == "a call has not ended"]
        self.assertEqual(line["method"], "/waymark.test.Echo/Never")
        self.assertRegex(line["call"], "^[0-9a-f]{16}$")
        (line,) = [line for line in lines if line["msg"] == "calls were never ended by their handlers"]
        self.assertEqual(line["calls"], 1)


class Limits(Case):
    ARGS = ("--message-size", "10000")

    def test_a_message_to_the_client_that_is_too_big(self):
        error, _ = self.assertFails(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE", self.server.unary, "Big", "10001"
        )
        self.assertIn("more than the 10000 allowed", error.details())
        self.assertFails(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE",
            self.server.method("unary_stream", "BigStream"), S(value="10001"), timeout=10,
        )

    def test_a_message_from_the_client_that_is_too_big_names_both_sizes(self):
        error, _ = self.assertFails(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE", self.server.unary, "Loop", "x" * 10000
        )
        self.assertIn("10003 bytes, more than the 10000", error.details())

    def test_up_to_the_limit(self):
        self.assertEqual(len(self.server.unary("Loop", "x" * 9997)), 9997)
        self.assertEqual(self.server.unary("Big", "9997"), "x" * 9997)


if __name__ == "__main__":
    unittest.main()
