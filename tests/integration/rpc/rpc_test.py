"""The call runtime as grpcio sees it: echo_server on a real socket."""

import json
import os
import queue
import random
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import warnings

import grpc
from google.protobuf import descriptor_pb2

import raw_http2
from support import SERVER, Case, S, Server, details_of, message_class, varint, wait_for


class Unary(Case):
    def test_answers_inline_on_the_loop_and_from_a_worker(self):
        for name in ("Inline", "Loop", "Worker"):
            self.assertEqual(self.server.unary(name, "hello \u00e9"), "hello \u00e9")

    def test_carries_binary_metadata_both_ways(self):
        value = bytes(range(256))
        for name in ("Inline", "Loop"):
            response, call = self.server.method("unary_unary", name).with_call(
                S(value="x"), metadata=[("x-echo-bin", value)], timeout=10
            )
            self.assertEqual(dict(call.initial_metadata())["x-initial-bin"], value)
            self.assertEqual(dict(call.trailing_metadata())["x-trailing-bin"], value)

    def test_many_at_once(self):
        for name in ("Inline", "Loop", "Worker"):
            method = self.server.method("unary_unary", name)
            futures = [method.future(S(value=str(i)), timeout=30) for i in range(500)]
            self.assertEqual([f.result().value for f in futures], [str(i) for i in range(500)])

    def test_messages_up_to_the_limit(self):
        value = "x" * (4 * 1024 * 1024 - 100)
        channel = grpc.insecure_channel(
            "127.0.0.1:%d" % self.server.port, options=[("grpc.max_receive_message_length", -1)]
        )
        method = channel.unary_unary("/waymark.test.Echo/Loop", S.SerializeToString, S.FromString)
        self.assertEqual(method(S(value=value), timeout=10).value, value)
        channel.close()

    def test_status_has_details(self):
        error, details = self.assertFails(
            grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", self.server.unary, "Fail", "x%y"
        )
        self.assertEqual(error.details(), 'not "x%y" \u00e9')
        violation = details["google.rpc.BadRequest"].field_violations[0]
        self.assertEqual(violation.field, "value")
        delay = details["google.rpc.RetryInfo"].retry_delay
        self.assertEqual((delay.seconds, delay.nanos), (1, 500000000))

    def test_internal_errors_name_the_call_in_the_log(self):
        error, _ = self.assertFails(
            grpc.StatusCode.INTERNAL, "INTERNAL", self.server.unary, "Fail", "internal"
        )
        call = error.details().rpartition("(call ")[2].rstrip(")")
        # The client has its answer before the server writes its line about the call.
        wait_for(lambda: self.messages_about(call) == ["internal error", "call"])

    def messages_about(self, call):
        return [line["msg"] for line in self.server.log_lines() if line.get("call") == call]

    def test_unknown_methods(self):
        error, _ = self.assertFails(
            grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN", self.server.unary, "Nothing"
        )
        self.assertIn("/waymark.test.Echo/Nothing", error.details())

    def test_cancelled_when_the_client_goes(self):
        before = self.server.counters()
        call = self.server.method("unary_unary", "Stuck").future(S(value="x"))
        wait_for(lambda: self.server.counters()["messages"] == before["messages"] + 1)
        call.cancel()
        wait_for(lambda: self.server.counters()["cancelled"] == before["cancelled"] + 1)

    def test_cancelled_at_the_deadline(self):
        before = self.server.counters()["cancelled"]
        self.assertFails(grpc.StatusCode.DEADLINE_EXCEEDED, None, self.server.unary, "Stuck", timeout=1)
        wait_for(lambda: self.server.counters()["cancelled"] == before + 1)

    def test_a_late_answer_after_cancellation_is_harmless(self):
        before = self.server.counters()["ended"]
        self.assertFails(
            grpc.StatusCode.DEADLINE_EXCEEDED, None, self.server.unary, "Slow", "1500", timeout=1
        )
        wait_for(lambda: self.server.counters()["ended"] == before + 1)

    def a_call_is_logged(self):
        # Above 500 a second lines are left out, and other cases make many calls.
        self.server.unary("Inline", "secret-payload", metadata=[("authorization", "Bearer secret-token")])
        return any(l.get("method", "").endswith("/Inline") for l in self.server.log_lines())

    def test_a_flood_is_counted_and_not_logged(self):
        method = self.server.method("unary_unary", "Inline")
        for _ in range(2):
            for future in [method.future(S(value="x"), timeout=30) for _ in range(1500)]:
                future.result()
            time.sleep(1)
        self.server.unary("Inline")
        wait_for(lambda: self.calls_not_logged() > 0)

    def calls_not_logged(self):
        lines = [line for line in self.server.log_lines() if line["msg"] == "calls not logged"]
        return sum(line["calls"] for line in lines)

    def test_logs_every_call_and_no_payload(self):
        wait_for(self.a_call_is_logged)
        line = [l for l in self.server.log_lines() if l.get("method", "").endswith("/Inline")][-1]
        self.assertEqual(line["code"], "OK")
        self.assertGreaterEqual(line["duration_us"], 0)
        self.assertNotIn("secret", json.dumps(self.server.log_lines()))


class HostileBytes(Case):
    def test_nested_10000_deep(self):
        # Struct{fields{key "a" value Value{struct_value Struct{...}}}}, built by hand from inside.
        value = b""
        for _ in range(10000):
            entry = b"\x0a\x01a\x12" + varint(len(value)) + value
            struct = b"\x0a" + varint(len(entry)) + entry
            value = b"\x2a" + varint(len(struct)) + struct
        self.assertFails(
            grpc.StatusCode.INVALID_ARGUMENT, "WIRE_TOO_DEEP", self.server.raw("unary_unary", "Deep"), struct
        )

    def test_unknown_fields_that_fill_the_calls_memory(self):
        for name in ("Inline", "Loop"):
            self.assertFails(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE",
                self.server.raw("unary_unary", name), b"\x28\x01" * 999999,
            )
        self.assertEqual(self.server.unary("Inline", "still here"), "still here")

    def test_strings_that_are_none(self):
        for bytes_, reason in (
            (b"\x0a\x02\xff\xfe", "WIRE_BAD_UTF8"),
            (b"\x0a\x03a\x00b", "WIRE_NUL_IN_STRING"),
            (b"\x0a\x09short", "WIRE_TRUNCATED"),
        ):
            for name in ("Inline", "Loop"):
                self.assertFails(
                    grpc.StatusCode.INVALID_ARGUMENT, reason, self.server.raw("unary_unary", name), bytes_
                )

    def test_too_large(self):
        self.assertFails(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "MESSAGE_TOO_LARGE",
            self.server.unary,
            "Inline",
            "x" * (5 * 1024 * 1024),
        )

    def test_far_too_large(self):
        before = self.server.rss_kb()
        self.assertFails(
            grpc.StatusCode.RESOURCE_EXHAUSTED, None, self.server.unary, "Inline", "x" * (100 * 1024 * 1024),
            timeout=60,
        )
        self.assertGrewLess(before, 64 * 1024)
        self.assertEqual(self.server.unary("Inline", "alive"), "alive")

    def test_compressed_messages_are_refused(self):
        method = self.server.method("unary_unary", "Inline")
        self.assertFails(
            grpc.StatusCode.UNIMPLEMENTED, None, method, S(value="x" * 100000), timeout=10,
            compression=grpc.Compression.Gzip,
        )

    def test_no_message_at_all(self):
        for name in ("Inline", "Loop", "Collect"):
            self.assertFails(
                grpc.StatusCode.INVALID_ARGUMENT, "FIELD_REQUIRED",
                self.server.method("stream_unary", name), iter([]), timeout=10,
            )

    def test_a_bad_message_in_a_stream_ends_it(self):
        messages = [S(value="a").SerializeToString(), b"\x0a\x02\xff\xfe"]
        self.assertFails(
            grpc.StatusCode.INVALID_ARGUMENT, "WIRE_BAD_UTF8", self.server.raw("stream_stream", "Chat"),
            iter(messages), timeout=10,
        )

    def test_a_large_message_in_a_stream_ends_it(self):
        messages = [S(value="a"), S(value="x" * (5 * 1024 * 1024))]
        self.assertFails(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE",
            self.server.method("stream_unary", "Collect"), iter(messages), timeout=10,
        )

    def test_half_sent_messages_and_resets(self):
        connection = raw_http2.Connection(self.server.port)
        for name in ("Inline", "Loop", "Collect", "Chat"):
            stream = connection.open("/waymark.test.Echo/" + name)
            connection.send(stream, b"\x00\x00\x00\x01\x00half")
        connection.ping()
        connection.close()
        wait_for(lambda: self.server.unary("Inline", "alive") == "alive")

    def test_early_resets_give_no_payload(self):
        connection = raw_http2.Connection(self.server.port)
        for _ in range(200):
            for name in ("Inline", "Loop", "Count", "Chat"):
                stream = connection.open("/waymark.test.Echo/" + name)
                connection.socket.sendall(raw_http2.frame(raw_http2.RST_STREAM, 0, stream, b"\0\0\0\x08"))
        connection.ping()
        connection.close()
        self.assertEqual(self.server.unary("Loop", "alive"), "alive")


class Interceptors(Case):
    def test_refuse_at_once(self):
        for kind, name in (("unary_unary", "Inline"), ("unary_stream", "Count")):
            self.assertFails(
                grpc.StatusCode.UNAUTHENTICATED, "REFUSED", self.server.method(kind, name), S(value="1"),
                metadata=[("x-refuse", "1")], timeout=10,
            )

    def test_refuse_a_stream_before_its_first_message(self):
        waiting = queue.Queue()
        self.assertFails(
            grpc.StatusCode.UNAUTHENTICATED, "REFUSED", self.server.method("stream_stream", "Chat"),
            iter(waiting.get, None), metadata=[("x-refuse", "1")], timeout=10,
        )
        waiting.put(None)

    def test_answer_later_from_another_thread(self):
        for key in ("x-later", "x-request-later"):
            for name in ("Inline", "Loop"):
                self.assertEqual(self.server.unary(name, "x", metadata=[(key, "1")]), "x")
            chat = self.server.method("stream_stream", "Chat")
            echoes = chat(iter([S(value="a"), S(value="b")]), metadata=[(key, "1")], timeout=10)
            self.assertEqual([e.value for e in echoes], ["a", "b"])

    def test_many_later_at_once(self):
        method = self.server.method("unary_unary", "Inline")
        metadata = [("x-later", "1"), ("x-request-later", "1")]
        futures = [method.future(S(value=str(i)), metadata=metadata, timeout=30) for i in range(300)]
        self.assertEqual([f.result().value for f in futures], [str(i) for i in range(300)])

    def test_refuse_later(self):
        self.assertFails(
            grpc.StatusCode.UNAUTHENTICATED, "REFUSED_LATER", self.server.unary, "Loop",
            metadata=[("x-refuse-later", "1")],
        )

    def test_answer_later_on_the_loop(self):
        for name in ("Inline", "Loop"):
            self.assertEqual(self.server.unary(name, "x", metadata=[("x-loop", "1")]), "x")
            self.assertFails(
                grpc.StatusCode.UNAUTHENTICATED, "REFUSED_ON_LOOP", self.server.unary, name,
                metadata=[("x-refuse-loop", "1")],
            )

    def test_refuse_a_request(self):
        metadata = [("x-refuse-request", "1")]
        self.assertFails(
            grpc.StatusCode.UNAUTHENTICATED, "REQUEST_REFUSED", self.server.unary, "Loop", "refuse",
            metadata=metadata,
        )
        self.assertFails(
            grpc.StatusCode.UNAUTHENTICATED, "REQUEST_REFUSED", self.server.method("stream_unary", "Collect"),
            iter([S(value="refuse")]), metadata=metadata, timeout=10,
        )

    def test_abort_an_open_stream_within_a_second(self):
        before = self.server.counters()["cancelled"]
        took = []
        for _ in range(3):  # a busy machine may delay one
            started = time.monotonic()
            watch = self.server.method("unary_stream", "Watch")(
                S(value="x"), metadata=[("x-abort", "1")], timeout=10
            )
            self.assertFails(grpc.StatusCode.PERMISSION_DENIED, "ACCESS_ENDED", lambda: watch)
            took.append(time.monotonic() - started)
        self.assertLess(min(took), 1)
        wait_for(lambda: self.server.counters()["cancelled"] == before + 3)

    def test_abort_a_stream_whose_client_does_not_read(self):
        before = self.server.counters()["ended"]
        count = self.server.method("unary_stream", "Count")(
            S(value="1000000"), metadata=[("x-abort", "1")], timeout=20
        )
        wait_for(lambda: self.server.counters()["ended"] == before + 1)
        with self.assertRaises(grpc.RpcError) as caught:
            list(count)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.PERMISSION_DENIED)


class Streams(Case):
    def test_server_streaming(self):
        call = self.server.method("unary_stream", "Count")(S(value="2000"), timeout=20)
        self.assertEqual([int(m.value) for m in call], list(range(2000)))
        self.assertEqual(dict(call.initial_metadata())["x-total"], "2000")

    def test_no_messages(self):
        call = self.server.method("unary_stream", "Count")(S(value="0"), timeout=20)
        self.assertEqual(list(call), [])
        self.assertEqual(call.code(), grpc.StatusCode.OK)

    def test_client_streaming(self):
        collect = self.server.method("stream_unary", "Collect")
        self.assertEqual(collect(iter([S(value="abc")] * 2000), timeout=20).value, "6000")

    def test_the_server_may_end_before_the_client(self):
        collect = self.server.method("stream_unary", "Collect")
        waiting = queue.Queue()
        waiting.put(S(value="enough"))
        self.assertEqual(collect(iter(waiting.get, None), timeout=20).value, "enough")
        waiting.put(None)

    def test_bidi(self):
        chat = self.server.method("stream_stream", "Chat")
        sent = queue.Queue()
        echoes = chat(iter(sent.get, None), timeout=20)
        for i in range(200):
            sent.put(S(value=str(i)))
            self.assertEqual(next(echoes).value, str(i))
        sent.put(None)
        self.assertEqual(list(echoes), [])
        self.assertEqual(echoes.code(), grpc.StatusCode.OK)

    def test_an_empty_stream_where_the_method_allows_it(self):
        chat = self.server.method("stream_stream", "Chat")(iter([]), timeout=20)
        self.assertEqual(list(chat), [])
        self.assertEqual(chat.code(), grpc.StatusCode.OK)

    def test_bidi_ended_by_the_server(self):
        chat = self.server.method("stream_stream", "Chat")
        sent = queue.Queue()
        for text in ("a", "bye"):
            sent.put(S(value=text))
        self.assertEqual([e.value for e in chat(iter(sent.get, None), timeout=20)], ["a"])
        sent.put(None)

    def test_cancelled_by_the_client(self):
        for kind, name, request in (
            ("unary_stream", "Watch", S(value="x")),
            ("stream_stream", "Chat", None),
        ):
            before = self.server.counters()
            sent = queue.Queue()
            sent.put(S(value="x"))
            call = self.server.method(kind, name)(request or iter(sent.get, None))
            self.assertEqual(next(call).value, "x")
            call.cancel()
            sent.put(None)
            wait_for(lambda: self.server.counters()["cancelled"] == before["cancelled"] + 1)
            wait_for(lambda: self.server.counters()["ended"] == before["ended"] + 1)

    def test_deadline_of_a_stream(self):
        before = self.server.counters()["cancelled"]
        self.assertFails(
            grpc.StatusCode.DEADLINE_EXCEEDED, None, self.server.method("unary_stream", "Watch"),
            S(value="x"), timeout=1,
        )
        wait_for(lambda: self.server.counters()["cancelled"] == before + 1)

    def settled(self, counter):
        """The counter's value once it has stood still for half a second."""
        last, since, until = -1, 0, time.monotonic() + 20
        while time.monotonic() < until:
            now = self.server.counters()[counter]
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > 0.5:
                return now
            time.sleep(0.02)
        raise AssertionError("%s never stands still" % counter)

    def test_a_reader_that_stops_stops_the_writer(self):
        rss = self.server.rss_kb()
        before = self.server.counters()["messages"]
        calls = [self.server.method("unary_stream", "Count")(S(value="1000000")) for _ in range(10)]
        sent = self.settled("messages")
        self.assertLess(sent - before, 10 * 20000)
        self.assertGrewLess(rss, 32 * 1024)
        # One that goes on reading gets everything on from where it was.
        self.assertEqual([int(next(calls[0]).value) for _ in range(10000)], list(range(10000)))
        for call in calls:
            call.cancel()

    def test_a_handler_that_does_not_ask_holds_the_writer_back(self):
        sent = []

        def messages():
            yield S(value="wait")
            for i in range(1000):
                sent.append(i)
                yield S(value="x" * 100000)

        rss = self.server.rss_kb()
        call = self.server.method("stream_unary", "Collect").future(messages())
        time.sleep(1)
        self.assertLess(len(sent), 200)
        self.assertGrewLess(rss, 32 * 1024)
        call.cancel()


class ManyStreams(Case):
    def test_10000_idle_streams_of_each_kind_fit(self):
        rss = self.server.rss_kb()
        connections = []
        for name in ("Chat", "Collect"):
            for _ in range(10):
                connection = raw_http2.Connection(self.server.port)
                connection.open("/waymark.test.Echo/" + name, 500)
                connections.append(connection)
        for connection in connections:
            connection.ping()
        self.assertEqual(self.server.unary("Inline", "alive"), "alive")
        self.assertGrewLess(rss, 250 * 1024)
        for connection in connections:
            connection.close()
        # The core is busy with the ends of 10,000 calls, under a sanitizer for some ten seconds.
        self.assertEqual(self.server.unary("Loop", "alive", timeout=60), "alive")
        # And the memory comes back (sanitizers have allocators of their own).
        if self.server.ports["memory_factor"] == 1:
            wait_for(lambda: self.server.rss_kb() - rss < 60 * 1024, seconds=60)


class TooManyCalls(Case):
    ARGS = ("--lanes", "1", "--calls", "4")

    def test_are_refused_with_a_time_to_come_back(self):
        stuck = self.server.method("unary_unary", "Stuck")
        calls = []
        for i in range(3):
            calls.append(stuck.future(S(value="x")))
            wait_for(lambda: self.server.counters()["messages"] == i + 1)

        def is_full():
            # A probe is a call, too: it may be what keeps the fourth out.
            if len(calls) == 3 or calls[3].done():
                calls[3:] = [stuck.future(S(value="x"))]
            time.sleep(0.2)
            return not self.answers()

        wait_for(is_full)
        _, details = self.assertFails(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS", self.server.unary, "Inline"
        )
        self.assertGreater(details["google.rpc.RetryInfo"].retry_delay.nanos, 0)
        # Probes are answered all the same: the server is busy, not ill.
        request = message_class("grpc.health.v1.HealthCheckRequest")
        response = message_class("grpc.health.v1.HealthCheckResponse")
        check = self.server.method("unary_unary", "/grpc.health.v1.Health/Check", request, response)
        self.assertEqual(check(request(), timeout=10).status, 1)
        for call in calls:
            call.cancel()
        wait_for(self.answers)

    def answers(self):
        try:
            return self.server.unary("Inline", "alive") == "alive"
        except grpc.RpcError:
            return False


class Health(Case):
    REQUEST = message_class("grpc.health.v1.HealthCheckRequest")
    RESPONSE = message_class("grpc.health.v1.HealthCheckResponse")

    def method(self, kind, name):
        return self.server.method(kind, "/grpc.health.v1.Health/" + name, self.REQUEST, self.RESPONSE)

    def test_check(self):
        check = self.method("unary_unary", "Check")
        for service in ("", "waymark.test.Echo", "grpc.health.v1.Health"):
            self.assertEqual(check(self.REQUEST(service=service), timeout=10).status, 1)
        self.assertFails(
            grpc.StatusCode.NOT_FOUND, "SERVICE_UNKNOWN", check, self.REQUEST(service="x"), timeout=10
        )

    def test_watch(self):
        watch = self.method("unary_stream", "Watch")
        call = watch(self.REQUEST(), timeout=10)
        self.assertEqual(next(call).status, 1)
        call.cancel()
        call = watch(self.REQUEST(service="x"), timeout=10)
        self.assertEqual(next(call).status, 3)
        call.cancel()


class Reflection(Case):
    def ask(self, version, **question):
        request = message_class("grpc.reflection.%s.ServerReflectionRequest" % version)
        response = message_class("grpc.reflection.%s.ServerReflectionResponse" % version)
        path = "/grpc.reflection.%s.ServerReflection/ServerReflectionInfo" % version
        method = self.server.method("stream_stream", path, request, response)
        (answer,) = method(iter([request(**question)]), timeout=10)
        return answer

    def test_lists_services(self):
        for version in ("v1", "v1alpha"):
            answer = self.ask(version, list_services="*")
            names = {s.name for s in answer.list_services_response.service}
            self.assertEqual(
                names,
                {
                    "waymark.test.Echo",
                    "grpc.health.v1.Health",
                    "grpc.reflection.v1.ServerReflection",
                    "grpc.reflection.v1alpha.ServerReflection",
                },
            )

    def test_describes_files_and_symbols(self):
        questions = (
            {"file_by_filename": "grpc/health/v1/health.proto"},
            {"file_containing_symbol": "grpc.health.v1.Health"},
            {"file_containing_symbol": "grpc.health.v1.Health.Check"},
            {"file_containing_symbol": "grpc.health.v1.HealthCheckResponse.ServingStatus"},
            {"file_containing_symbol": "grpc.health.v1.HealthCheckResponse.status"},
        )
        for question in questions:
            answer = self.ask("v1", **question)
            self.assertEqual(answer.WhichOneof("message_response"), "file_descriptor_response", question)
            files = answer.file_descriptor_response.file_descriptor_proto
            names = [descriptor_pb2.FileDescriptorProto.FromString(file).name for file in files]
            self.assertEqual(names, ["grpc/health/v1/health.proto"])

    def test_says_what_it_does_not_know(self):
        for question in ({"file_by_filename": "x"}, {"file_containing_symbol": "x.Y"}, {}):
            answer = self.ask("v1", **question)
            self.assertEqual(answer.WhichOneof("message_response"), "error_response")

    def test_many_questions_in_one_stream(self):
        request = message_class("grpc.reflection.v1.ServerReflectionRequest")
        response = message_class("grpc.reflection.v1.ServerReflectionResponse")
        path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        method = self.server.method("stream_stream", path, request, response)
        questions = [request(host=str(i), list_services="*") for i in range(100)]
        answers = list(method(iter(questions), timeout=10))
        self.assertEqual([a.valid_host for a in answers], [str(i) for i in range(100)])


class Drain(unittest.TestCase):
    def test_lets_calls_end_and_tells_streams(self):
        server = Server("--grace", "20000")
        health = Health()
        health.server = server
        watching = health.method("unary_stream", "Watch")(Health.REQUEST(), timeout=10)
        self.assertEqual(next(watching).status, 1)
        slow = server.method("unary_unary", "Slow").future(S(value="700"), timeout=10)
        watch = server.method("unary_stream", "Watch")(S(value="x"), timeout=10)
        self.assertEqual(next(watch).value, "x")
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(next(watching).status, 2)
        with self.assertRaises(grpc.RpcError) as caught:
            next(watch)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        _, details = details_of(caught.exception)
        self.assertEqual(details["google.rpc.ErrorInfo"].reason, "SHUTTING_DOWN")
        self.assertEqual(slow.result().value, "done")
        code, _ = server.stop()
        self.assertEqual(code, 0)
        self.assertLess(time.monotonic() - started, 15)

    def test_cancels_what_takes_longer_than_the_grace(self):
        server = Server("--grace", "300")
        stuck = server.method("unary_unary", "Stuck").future(S(value="x"), timeout=20)
        wait_for(lambda: server.counters()["messages"] == 1)
        started = time.monotonic()
        code, last = server.stop()
        self.assertEqual(code, 0)
        self.assertEqual((last["cancelled"], last["ended"]), (1, 1))
        self.assertLess(time.monotonic() - started, 15)
        self.assertIn(stuck.exception().code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED))

    def test_under_load(self):
        server = Server("--grace", "2000")
        failed, stop = [], threading.Event()

        def load():
            method = server.method("unary_unary", "Loop")
            while not stop.is_set():
                try:
                    method(S(value="x"), timeout=10)
                except grpc.RpcError as error:
                    failed.append(error.code())
                    return

        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        code, _ = server.stop()
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(code, 0)
        self.assertLessEqual(set(failed), {grpc.StatusCode.UNAVAILABLE})


class Chaos(unittest.TestCase):
    """Calls of all kinds that end in all ways at once; the server must come to rest and stop."""

    SECONDS = 3

    def one(self, server, chance):
        name, kind = chance.choice(
            [("Inline", "unary_unary"), ("Loop", "unary_unary"), ("Worker", "unary_unary"),
             ("Stuck", "unary_unary"), ("Slow", "unary_unary"), ("Fail", "unary_unary"),
             ("Count", "unary_stream"), ("Watch", "unary_stream"),
             ("Collect", "stream_unary"), ("Chat", "stream_stream")]
        )
        metadata = [(key, "1") for key in ("x-later", "x-loop", "x-request-later", "x-abort",
                                             "x-refuse-later", "x-refuse-loop")
                    if chance.random() < 0.1]
        method = server.method(kind, name)
        request = S(value=str(chance.randrange(20)))
        if kind.startswith("stream"):
            request = iter([request] * chance.randrange(20))
        timeout = chance.choice((0.001, 0.005, 0.05, 0.2))
        start = method.future if kind.endswith("unary") else method
        call = start(request, timeout=timeout, metadata=metadata)
        if chance.random() < 0.4:
            time.sleep(chance.random() * 0.01)
            call.cancel()
            return
        try:
            call.result() if kind.endswith("unary") else list(call)
        except grpc.RpcError:
            pass
        except grpc.FutureCancelledError:
            pass

    def test_comes_to_rest(self):
        seed = int(os.environ.get("SEED", time.time_ns()))
        print("SEED=%d" % seed)
        server = Server("--grace", "500")
        until = time.monotonic() + self.SECONDS

        def run(n):
            chance = random.Random(seed + n)
            while time.monotonic() < until:
                self.one(server, chance)

        threads = [threading.Thread(target=run, args=(n,)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(server.unary("Loop", "alive"), "alive")
        code, last = server.stop()
        self.assertEqual(code, 0)
        self.assertGreater(last["ended"], 100)


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.authority("ca")
        cls.certificate("server", "ca")
        cls.certificate("client", "ca")
        cls.authority("other")
        cls.certificate("stranger", "other")
        cls.certificate("second", "other")

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.directory.name, name)

    @classmethod
    def read(cls, name):
        with open(cls.path(name), "rb") as file:
            return file.read()

    @classmethod
    def openssl(cls, *args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=cls.directory.name)

    @classmethod
    def authority(cls, name):
        cls.openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=" + name, "-keyout", name + ".key", "-out", name + ".pem",
        )

    @classmethod
    def certificate(cls, name, authority):
        cls.openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=" + name,
            "-addext", "subjectAltName=DNS:localhost", "-keyout", name + ".key", "-out", name + ".csr",
        )
        cls.openssl(
            "x509", "-req", "-in", name + ".csr", "-CA", authority + ".pem", "-CAkey", authority + ".key",
            "-CAcreateserial", "-copy_extensions", "copy", "-days", "2", "-out", name + ".pem",
        )

    def echo(self, server, roots="ca", client=None, port="tls_port"):
        credentials = grpc.ssl_channel_credentials(
            self.read(roots + ".pem"),
            self.read(client + ".key") if client else None,
            self.read(client + ".pem") if client else None,
        )
        with grpc.secure_channel("localhost:%d" % server.ports[port], credentials) as channel:
            method = channel.unary_unary("/waymark.test.Echo/Loop", S.SerializeToString, S.FromString)
            return method(S(value="x"), timeout=5).value

    def assertRefused(self, *args, **kwargs):
        with self.assertRaises(grpc.RpcError) as caught:
            self.echo(*args, **kwargs)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)

    def test_tls(self):
        server = Server("--tls", self.path("server.pem"), self.path("server.key"))
        self.addCleanup(server.stop)
        self.assertEqual(self.echo(server), "x")
        self.assertEqual(server.unary("Loop", "plain"), "plain")
        self.assertRefused(server, roots="other")

    def test_versions(self):
        """1.2 and 1.3, nothing older; and only with HTTP/2 (ALPN)."""
        server = Server("--tls", self.path("server.pem"), self.path("server.key"))
        self.addCleanup(server.stop)
        spoken = {}
        for version in ("TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(self.path("ca.pem"))
            context.set_ciphers("ALL:@SECLEVEL=0")  # so that it is the server who refuses
            context.set_alpn_protocols(["h2"])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
            try:
                with socket.create_connection(("localhost", server.ports["tls_port"])) as raw:
                    with context.wrap_socket(raw, server_hostname="localhost") as tls:
                        spoken[tls.version()] = tls.selected_alpn_protocol()
            except (ssl.SSLError, ConnectionError):
                pass
        self.assertEqual(spoken, {"TLSv1.2": "h2", "TLSv1.3": "h2"})

    def test_mutual_tls(self):
        server = Server("--mtls", self.path("server.pem"), self.path("server.key"), self.path("ca.pem"))
        self.addCleanup(server.stop)
        self.assertEqual(self.echo(server, client="client"), "x")
        self.assertRefused(server)
        self.assertRefused(server, client="stranger")

    def test_listeners_have_credentials_of_their_own(self):
        server = Server(
            "--tls", self.path("server.pem"), self.path("server.key"),
            "--mtls", self.path("second.pem"), self.path("second.key"), self.path("other.pem"),
        )
        self.addCleanup(server.stop)
        self.assertEqual(server.unary("Loop", "plain"), "plain")
        self.assertEqual(self.echo(server), "x")
        self.assertEqual(self.echo(server, roots="other", client="second", port="tls_port_2"), "x")
        self.assertRefused(server, roots="other")
        self.assertRefused(server, roots="ca", client="second", port="tls_port_2")
        self.assertRefused(server, roots="other", client="client", port="tls_port_2")
        self.assertRefused(server, roots="other", port="tls_port_2")

    def test_a_renewed_certificate_needs_no_restart(self):
        for name in ("server.pem", "server.key"):
            with open(self.path("live-" + name), "wb") as file:
                file.write(self.read(name))
        server = Server("--tls", self.path("live-server.pem"), self.path("live-server.key"))
        self.addCleanup(server.stop)
        self.assertEqual(self.echo(server), "x")
        os.replace(self.path("stranger.key"), self.path("live-server.key"))
        os.replace(self.path("stranger.pem"), self.path("live-server.pem"))
        self.assertEqual(self.echo(server, roots="other"), "x")
        self.__class__.certificate("stranger", "other")

    def test_a_missing_file_is_named(self):
        process = subprocess.run(
            [SERVER, "--tls", self.path("nowhere.pem"), self.path("server.key")], capture_output=True, timeout=20
        )
        self.assertEqual(process.returncode, 1)
        self.assertIn(b"nowhere.pem", process.stderr)


if __name__ == "__main__":
    unittest.main()
