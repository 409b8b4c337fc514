"""Bytes and peers that mean no good: each gets a precise error, and the server lives on."""

import threading
import unittest

import grpc

import harness
from harness import bearer, reason

from waymark.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from waymark.geo.v1 import track_service_pb2, track_service_pb2_grpc

IDLE_STREAMS = 10_000
IDLE_GROWTH_MAX_MB = 400


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def nested_value(depth):
    """google.protobuf.Struct holding lists in lists."""
    value = b""
    for _ in range(depth):
        value = field(6, field(1, value))  # Value.list_value { values: ... }
    return field(1, field(1, b"k") + field(2, value))


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.operator = bearer(cls.server.token("olga", "operator"))

    def setUp(self):
        self.channel = self.server.channel()
        self.addCleanup(self.channel.close)

    def tearDown(self):
        with self.server.channel() as channel:
            stub = auth_service_pb2_grpc.AuthServiceStub(channel)
            stub.WhoAmI(auth_service_pb2.WhoAmIRequest(), metadata=self.operator, timeout=10)

    def raw(self, path, payload, code, why):
        call = self.channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
        with self.assertRaises(grpc.RpcError) as caught:
            call(payload, metadata=self.operator, timeout=60)
        self.assertEqual((caught.exception.code(), reason(caught.exception)), (code, why))

    def test_nested_ten_thousand_deep(self):
        request = field(3, nested_value(10_000))  # SearchWithin.polygon
        self.raw(
            "/waymark.geo.v1.TrackService/SearchWithin", request, grpc.StatusCode.INVALID_ARGUMENT, "WIRE_TOO_DEEP"
        )

    def test_invalid_utf8(self):
        self.raw(
            "/waymark.geo.v1.TrackService/GetEntity",
            field(2, b"\xff\xfe"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "WIRE_BAD_UTF8",
        )

    def test_nul_in_an_id(self):
        self.raw(
            "/waymark.geo.v1.TrackService/GetEntity",
            field(2, b"a\x00b"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "WIRE_NUL_IN_STRING",
        )

    def test_truncated_message(self):
        self.raw(
            "/waymark.geo.v1.TrackService/GetEntity",
            field(2, b"abcdef")[:-3],
            grpc.StatusCode.INVALID_ARGUMENT,
            "WIRE_TRUNCATED",
        )

    def test_a_hundred_megabytes(self):
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(self.server.address, options) as channel:
            call = channel.unary_unary(
                "/waymark.geo.v1.TrackService/ReportPositions", request_serializer=bytes, response_deserializer=bytes
            )
            with self.assertRaises(grpc.RpcError) as caught:
                call(bytes(100_000_000), metadata=self.operator, timeout=60)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)

    def test_unknown_method(self):
        call = self.channel.unary_unary("/waymark.geo.v1.TrackService/Nope", None, None)
        with self.assertRaises(grpc.RpcError) as caught:
            call(b"", metadata=self.operator, timeout=10)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_half_sent_stream(self):
        tracks = track_service_pb2_grpc.TrackServiceStub(self.channel)
        hold = threading.Event()
        self.addCleanup(hold.set)

        def messages():
            yield track_service_pb2.StreamPositionsRequest(sequence=1)
            hold.wait(60)

        stream = tracks.StreamPositions(messages(), metadata=self.operator)
        next(stream)
        stream.cancel()

    def test_idle_streams_fit_in_bounded_memory(self):
        before = self.resident_mb()
        channels = [
            grpc.insecure_channel(self.server.address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(10)
        ]
        calls = []
        try:
            for n in range(IDLE_STREAMS):
                tracks = track_service_pb2_grpc.TrackServiceStub(channels[n % len(channels)])
                calls.append(tracks.WatchPositions(track_service_pb2.WatchPositionsRequest(), metadata=self.operator))
            harness.wait_for(
                lambda: auth_service_pb2_grpc.AuthServiceStub(self.channel).WhoAmI(
                    auth_service_pb2.WhoAmIRequest(), metadata=self.operator, timeout=30
                ),
                "the server still answers",
            )
            self.assertLess(self.resident_mb() - before, IDLE_GROWTH_MAX_MB)
        finally:
            for call in calls:
                call.cancel()
            for channel in channels:
                channel.close()

    def resident_mb(self):
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")


if __name__ == "__main__":
    harness.main("__main__")
