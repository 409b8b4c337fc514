"""Who may call: tokens that must be refused, roles, and streams that end when access does.

Tokens are forged with nothing but the standard library and the `cryptography`-free helper
below, against the development issuer's published keys.
"""

import base64
import hashlib
import hmac
import json
import time
import unittest
import urllib.request

import grpc

import harness
from harness import bearer, reason

from waymark.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from waymark.geo.v1 import track_service_pb2, track_service_pb2_grpc


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def parts(token):
    header, payload, signature = token.split(".")
    return json.loads(unb64(header)), json.loads(unb64(payload)), signature


def forge(header, payload, signature=b""):
    return ".".join([b64(json.dumps(header).encode()), b64(json.dumps(payload).encode()), b64(signature)])


class Access(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.channel = cls.server.channel()
        cls.addClassCleanup(cls.channel.close)
        cls.auth = auth_service_pb2_grpc.AuthServiceStub(cls.channel)
        cls.tracks = track_service_pb2_grpc.TrackServiceStub(cls.channel)
        cls.good = cls.server.token("alice", "operator")

    def refused(self, metadata, code, why):
        with self.assertRaises(grpc.RpcError) as caught:
            self.auth.WhoAmI(auth_service_pb2.WhoAmIRequest(), metadata=metadata)
        self.assertEqual((caught.exception.code(), reason(caught.exception)), (code, why))
        return caught.exception

    def unauthenticated(self, token, why):
        error = self.refused(bearer(token), grpc.StatusCode.UNAUTHENTICATED, why)
        self.assertNotIn(token.split(".")[-1] or "#", error.details())

    def test_good_token_is_known(self):
        who = self.auth.WhoAmI(auth_service_pb2.WhoAmIRequest(), metadata=bearer(self.good))
        self.assertIn("alice", str(who))

    def test_no_token(self):
        self.refused((), grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")

    def test_not_a_token(self):
        self.unauthenticated("not-a-jwt", "TOKEN_MALFORMED")

    def test_wrong_audience(self):
        self.unauthenticated(self.server.token("alice", "operator", "--aud", "another"), "TOKEN_AUDIENCE")

    def test_expired(self):
        token = self.server.token("alice", "operator", "--expires", "1s")
        harness.wait_for(lambda: parts(token)[1]["exp"] < time.time() - 1, "the token expires", 10)
        self.unauthenticated(token, "TOKEN_EXPIRED")

    def test_alg_none(self):
        header, payload, _ = parts(self.good)
        self.unauthenticated(forge({**header, "alg": "none"}, payload), "TOKEN_ALGORITHM")

    def test_hs256_signed_with_the_public_key(self):
        header, payload, _ = parts(self.good)
        keys = json.load(urllib.request.urlopen(f"http://127.0.0.1:{self.server.issuer_port}/jwks", timeout=5))
        secret = json.dumps(keys["keys"][0]).encode()
        unsigned = forge({**header, "alg": "HS256"}, payload).rsplit(".", 1)[0]
        token = unsigned + "." + b64(hmac.new(secret, unsigned.encode(), hashlib.sha256).digest())
        self.unauthenticated(token, "TOKEN_ALGORITHM")

    def test_another_issuer(self):
        header, payload, _ = parts(self.good)
        self.unauthenticated(forge(header, {**payload, "iss": "https://evil.example"}, b"x" * 64), "TOKEN_ISSUER")

    def test_changed_payload(self):
        header, payload, signature = parts(self.good)
        token = forge(header, {**payload, "sub": "root"}).rsplit(".", 1)[0] + "." + signature
        self.unauthenticated(token, "TOKEN_SIGNATURE")

    def test_unknown_key(self):
        header, payload, signature = parts(self.good)
        token = forge({**header, "kid": "nobody"}, payload).rsplit(".", 1)[0] + "." + signature
        self.unauthenticated(token, "TOKEN_KEY_UNKNOWN")

    def test_viewer_reads_but_cannot_write(self):
        viewer = bearer(self.server.token("vera", "viewer"))
        self.tracks.SearchNearby(
            track_service_pb2.SearchNearbyRequest(lon_deg=1, lat_deg=1, limit=1), metadata=viewer
        )
        with self.assertRaises(grpc.RpcError) as caught:
            self.tracks.ReportPositions(track_service_pb2.ReportPositionsRequest(), metadata=viewer)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.PERMISSION_DENIED)
        self.assertEqual(reason(caught.exception), "PERMISSION_MISSING")

    def test_other_namespace_is_closed(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.tracks.GetEntity(
                track_service_pb2.GetEntityRequest(namespace="elsewhere", entity_id="x"), metadata=bearer(self.good)
            )
        self.assertEqual(caught.exception.code(), grpc.StatusCode.PERMISSION_DENIED)

    def test_open_stream_ends_within_a_second_of_expiry(self):
        token = self.server.token("wanda", "viewer", "--expires", "3s")
        stream = self.tracks.WatchPositions(track_service_pb2.WatchPositionsRequest(), metadata=bearer(token))
        with self.assertRaises(grpc.RpcError) as caught:
            for _ in stream:
                pass
        self.assertLess(time.time(), parts(token)[1]["exp"] + 1.5)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
        self.assertEqual(reason(caught.exception), "ACCESS_ENDED")

    def test_logs_hold_no_token(self):
        self.auth.WhoAmI(auth_service_pb2.WhoAmIRequest(), metadata=bearer(self.good))
        with open(self.server.log.name, encoding="utf-8", errors="replace") as log:
            self.assertNotIn(self.good.split(".")[2], log.read())


if __name__ == "__main__":
    harness.main("__main__")
