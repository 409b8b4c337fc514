"""Tokens, roles and grants over real calls: auth_server on PostgreSQL, seen by stock grpcio.

The development issuer makes the tokens; glewlwyd_test.py does it with a real OIDC provider.
"""

import base64
import hashlib
import hmac
import json
import threading
import time
import unittest
import urllib.request
import uuid

import grpc

import auth_support
from auth_support import AuthServer, bearer

VIEWER, OPERATOR, WORKER, ADMIN = 1, 2, 3, 4


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def forge(header, payload, signature=b""):
    return ".".join([b64(json.dumps(header).encode()), b64(json.dumps(payload).encode()), b64(signature)])


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = AuthServer(dev_issuer=True)
        cls.addClassCleanup(cls.server.stop)
        cls.root = cls.server.token("root")

    def refused(self, code, reason, call, *args, **kwargs):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*args, **kwargs)
        found = auth_support.reason_of(caught.exception)
        self.assertEqual((caught.exception.code(), found), (code, reason), caught.exception.details())
        return caught.exception

    def unauthenticated(self, token, reason):
        metadata = bearer(token) if token is not None else ()
        error = self.refused(
            grpc.StatusCode.UNAUTHENTICATED, reason, self.server.who_am_i, metadata=metadata
        )
        for part in (token or "").split("."):
            if len(part) > 8:
                self.assertNotIn(part, error.details())

    def denied(self, call, *args, **kwargs):
        return self.refused(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING", call, *args, **kwargs)


class Tokens(Case):
    def test_good_token(self):
        who = self.server.who_am_i(token=self.server.token("alice", groups=["ops"], name="Alice"))
        self.assertEqual(who.principal, self.server.issuer + "#alice")
        self.assertEqual((who.subject, who.name, list(who.groups)), ("alice", "Alice", ["ops"]))
        self.assertEqual((who.namespace, list(who.roles), who.configured_admin), ("default", [], False))
        self.assertAlmostEqual(who.expire_time.seconds, time.time() + 3600, delta=10)

    def test_configured_admin(self):
        who = self.server.who_am_i(token=self.root)
        self.assertEqual((list(who.roles), who.configured_admin), ([ADMIN], True))
        self.assertIn("geo.write", who.permissions)
        self.assertEqual(list(who.permissions), sorted(who.permissions))

    def test_no_token(self):
        self.unauthenticated(None, "TOKEN_MISSING")
        for value in ("", "Bearer", "Bearer ", "Basic YTpi", self.root):
            self.refused(
                grpc.StatusCode.UNAUTHENTICATED,
                "TOKEN_MISSING",
                self.server.who_am_i,
                metadata=(("authorization", value),),
            )

    def test_scheme_ignores_case(self):
        self.server.who_am_i(metadata=(("authorization", "bearer " + self.root),))

    def test_malformed(self):
        for token in ("x", "a.b.c", self.root + ".x", self.root[:-1] + "=", "x" * 7000):
            self.unauthenticated(token, "TOKEN_MALFORMED")

    def test_wrong_audience(self):
        self.unauthenticated(self.server.token("alice", aud="another"), "TOKEN_AUDIENCE")

    def test_expired_also_from_the_cache(self):
        token = self.server.token("alice", expires_in=2)
        self.server.who_am_i(token=token)
        time.sleep(2.1)
        self.unauthenticated(token, "TOKEN_EXPIRED")

    def test_alg_none(self):
        header, payload, _ = self.root.split(".")
        self.unauthenticated(forge({"alg": "none"}, json.loads(unb64(payload))), "TOKEN_ALGORITHM")
        self.unauthenticated(forge({"alg": "None", "kid": "x"}, json.loads(unb64(payload))), "TOKEN_ALGORITHM")

    def test_hs256_signed_with_the_public_key(self):
        header, payload, _ = self.root.split(".")
        with urllib.request.urlopen(self.server.issuer + "/jwks") as answer:
            public = answer.read()
        signed = forge({**json.loads(unb64(header)), "alg": "HS256"}, json.loads(unb64(payload))).rsplit(".", 1)[0]
        mac = hmac.new(public, signed.encode(), hashlib.sha256).digest()
        self.unauthenticated(signed + "." + b64(mac), "TOKEN_ALGORITHM")

    def test_another_issuer(self):
        header, payload, signature = self.root.split(".")
        claims = {**json.loads(unb64(payload)), "iss": "https://evil.example"}
        self.unauthenticated(".".join([header, b64(json.dumps(claims).encode()), signature]), "TOKEN_ISSUER")

    def test_changed_claims(self):
        header, payload, signature = self.server.token("alice").split(".")
        claims = {**json.loads(unb64(payload)), "sub": "root"}
        self.unauthenticated(".".join([header, b64(json.dumps(claims).encode()), signature]), "TOKEN_SIGNATURE")

    def test_not_yet_valid(self):
        header, payload, signature = self.root.split(".")
        claims = {**json.loads(unb64(payload)), "nbf": time.time() + 3600}
        self.unauthenticated(".".join([header, b64(json.dumps(claims).encode()), signature]), "TOKEN_NOT_YET_VALID")

    def test_health_and_reflection_need_no_token(self):
        self.server.raw_unary("/grpc.health.v1.Health/Check", b"")

    def test_many_new_tokens_at_once(self):
        tokens = [self.server.token(f"user{i}") for i in range(60)]
        futures = [self.server.who_am_i.future(token=token, timeout=20) for token in tokens]
        names = [future.result().subject for future in futures]
        self.assertEqual(names, [f"user{i}" for i in range(60)])


class Roles(Case):
    def test_viewer_reads_but_cannot_write(self):
        viewer = self.server.token("vera", role="viewer")
        self.server.get_entity(token=viewer)
        error = self.denied(self.server.report_positions, token=viewer)
        self.assertIn("geo.write", error.details())
        self.assertIn("operator or admin", error.details())

    def test_operator_writes_but_does_not_grant(self):
        operator = self.server.token("otto", role="operator")
        self.server.report_positions(token=operator)
        self.denied(self.server.list_grants, token=operator)
        self.denied(self.server.grant, principal="otto", role=ADMIN, token=operator)

    def test_nobody_may_nothing(self):
        self.denied(self.server.get_entity, token=self.server.token("nobody"))

    def test_other_namespace_is_closed(self):
        viewer = self.server.token("vito", role="viewer")
        self.denied(self.server.get_entity, namespace="elsewhere", token=viewer)
        self.server.grant(namespace="made-by-root", principal="someone", role=VIEWER, token=self.root)
        self.denied(self.server.get_entity, namespace="made-by-root", token=viewer)

    def test_bad_namespace_names(self):
        for name in ("Default", "-a", "a_b", "a" * 64, "a.b", " "):
            self.refused(
                grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", self.server.get_entity, namespace=name, token=self.root
            )
        self.refused(
            grpc.StatusCode.NOT_FOUND, "NAMESPACE_NOT_FOUND", self.server.get_entity, namespace="a" * 63, token=self.root
        )

    def test_an_admins_first_write_makes_the_namespace(self):
        name = "n" + uuid.uuid4().hex[:20]
        self.refused(
            grpc.StatusCode.NOT_FOUND, "NAMESPACE_NOT_FOUND", self.server.get_entity, namespace=name, token=self.root
        )
        self.assertEqual(self.server.who_am_i(namespace=name, token=self.root).namespace, name)
        self.server.report_positions(namespace=name, token=self.root)
        self.server.get_entity(namespace=name, token=self.root)

    def test_namespaces_admin(self):
        name = "n" + uuid.uuid4().hex[:20]
        anna = self.server.token("anna")
        self.server.grant(namespace=name, principal="anna", role=ADMIN, token=self.root)
        self.server.grant(namespace=name, principal="vera", role=VIEWER, token=anna)
        self.denied(self.server.grant, principal="vera", role=VIEWER, token=anna)


class Grants(Case):
    def test_takes_effect_at_once_and_ends_at_once(self):
        name, token = "n" + uuid.uuid4().hex[:20], self.server.token("gina")
        made = self.server.grant(namespace=name, principal="gina", role=VIEWER, token=self.root).grant
        self.assertEqual(made.principal, self.server.issuer + "#gina")
        self.assertEqual((made.role, made.namespace, made.creator), (VIEWER, name, self.server.issuer + "#root"))
        self.assertEqual(uuid.UUID(made.grant_id).version, 7)
        for _ in range(20):
            grant = self.server.grant(namespace=name, principal="gina", role=OPERATOR, token=self.root).grant
            self.server.report_positions(namespace=name, token=token)
            self.server.revoke(namespace=name, grant_id=grant.grant_id, token=self.root)
            self.denied(self.server.report_positions, namespace=name, token=token)
            self.server.get_entity(namespace=name, token=token)

    def test_is_idempotent(self):
        first = self.server.grant(principal="ida", role=WORKER, token=self.root).grant
        again = self.server.grant(principal=self.server.issuer + "#ida", role=WORKER, token=self.root).grant
        self.assertEqual(first, again)
        futures = [self.server.grant.future(group="all-at-once", role=VIEWER, token=self.root) for _ in range(20)]
        self.assertEqual(len({future.result().grant.grant_id for future in futures}), 1)

    def test_by_group(self):
        name = "n" + uuid.uuid4().hex[:20]
        token = self.server.token("greta", groups=["night", "day"])
        grant = self.server.grant(namespace=name, group="day", role=VIEWER, token=self.root).grant
        self.assertEqual(grant.group, self.server.issuer + "#day")
        self.server.get_entity(namespace=name, token=token)
        self.denied(self.server.get_entity, namespace=name, token=self.server.token("greta", groups=["days"]))
        # A subject that is called like the group is not in it.
        self.denied(self.server.get_entity, namespace=name, token=self.server.token("day"))
        self.server.revoke(namespace=name, grant_id=grant.grant_id, token=self.root)
        self.denied(self.server.get_entity, namespace=name, token=token)

    def test_bad_requests(self):
        def bad(reason, call, **fields):
            self.refused(grpc.StatusCode.INVALID_ARGUMENT, reason, call, token=self.root, **fields)

        bad("FIELD_REQUIRED", self.server.grant, role=VIEWER)
        bad("FIELD_REQUIRED", self.server.grant, principal="", role=VIEWER)
        bad("FIELD_REQUIRED", self.server.grant, principal="x")
        bad("FIELD_INVALID", self.server.grant, principal="x", role=9)
        bad("FIELD_INVALID", self.server.grant, principal="https://evil.example#x", role=VIEWER)
        bad("FIELD_INVALID", self.server.grant, principal=self.server.issuer + "#", role=VIEWER)
        bad("FIELD_TOO_LONG", self.server.grant, group="x" * 1025, role=VIEWER)
        bad("ID_MALFORMED", self.server.revoke, grant_id="x")
        bad("FIELD_REQUIRED", self.server.revoke)
        bad("FIELD_INVALID", self.server.list_grants, page_size=-1)
        bad("PAGE_TOKEN_INVALID", self.server.list_grants, page_token="x")
        self.refused(
            grpc.StatusCode.NOT_FOUND, "GRANT_NOT_FOUND", self.server.revoke, grant_id=str(uuid.uuid4()), token=self.root
        )

    def test_revoke_only_in_its_namespace(self):
        name = "n" + uuid.uuid4().hex[:20]
        grant = self.server.grant(namespace=name, principal="rita", role=VIEWER, token=self.root).grant
        self.refused(
            grpc.StatusCode.NOT_FOUND, "GRANT_NOT_FOUND", self.server.revoke, grant_id=grant.grant_id, token=self.root
        )

    def test_lists_in_pages(self):
        name = "n" + uuid.uuid4().hex[:20]
        ids = [
            self.server.grant(namespace=name, principal=f"p{i}", role=1 + i % 2, token=self.root).grant.grant_id
            for i in range(7)
        ]
        found, page_token, pages = [], "", 0
        while pages == 0 or page_token:
            page = self.server.list_grants(namespace=name, page_size=3, page_token=page_token, token=self.root)
            found += [grant.grant_id for grant in page.grants]
            page_token, pages = page.next_page_token, pages + 1
            if pages == 1:
                # A page token is good for its own list only.
                self.refused(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    "PAGE_TOKEN_INVALID",
                    self.server.list_grants,
                    namespace=name,
                    role=VIEWER,
                    page_token=page_token,
                    token=self.root,
                )
        self.assertEqual((found, pages), (ids, 3))
        operators = self.server.list_grants(namespace=name, role=OPERATOR, token=self.root).grants
        self.assertEqual([grant.grant_id for grant in operators], ids[1::2])
        one = self.server.list_grants(namespace=name, principal="p3", token=self.root).grants
        self.assertEqual([grant.grant_id for grant in one], [ids[3]])
        self.assertFalse(self.server.list_grants(namespace=name, group="p3", token=self.root).grants)


class Streams(Case):
    """An open stream ends within a second of its caller's access."""

    def open(self, token, server=None, namespace=""):
        stream = (server or self.server).watch_positions(namespace=namespace, token=token)
        next(stream)
        return stream

    def ends(self, stream, code, reason, within_s=1.0):
        begun = time.monotonic()
        with self.assertRaises(grpc.RpcError) as caught:
            next(stream)
        took_s = time.monotonic() - begun
        found = auth_support.reason_of(caught.exception)
        self.assertEqual((caught.exception.code(), found), (code, reason), caught.exception.details())
        self.assertLess(took_s, within_s)

    def test_expiry(self):
        token = self.server.token("sven", role="viewer", expires_in=3)
        expire = json.loads(unb64(token.split(".")[1]))["exp"]
        stream = self.open(token)
        time.sleep(max(0, expire - time.time()))
        self.ends(stream, grpc.StatusCode.UNAUTHENTICATED, "ACCESS_ENDED")

    def test_revoked_here(self):
        name = "n" + uuid.uuid4().hex[:20]
        grant = self.server.grant(namespace=name, principal="stan", role=VIEWER, token=self.root).grant
        stream = self.open(self.server.token("stan"), namespace=name)
        time.sleep(1.5)
        self.server.revoke(namespace=name, grant_id=grant.grant_id, token=self.root)
        self.ends(stream, grpc.StatusCode.PERMISSION_DENIED, "ACCESS_ENDED")

    def test_revoked_on_another_server(self):
        other = AuthServer(issuers=[(self.server.issuer, "waymark")], postgres=self.server.postgres)
        self.addCleanup(other.stop)
        name, token = "n" + uuid.uuid4().hex[:20], self.server.token("susi")
        for _ in range(3):
            grant = self.server.grant(namespace=name, principal="susi", role=VIEWER, token=self.root).grant
            auth_support.wait_for(lambda: self.allowed(other, name, token), "the grant reaches the other server", 1.5)
            stream = self.open(token, server=other, namespace=name)
            time.sleep(0.7)
            self.server.revoke(namespace=name, grant_id=grant.grant_id, token=self.root)
            self.ends(stream, grpc.StatusCode.PERMISSION_DENIED, "ACCESS_ENDED")
            self.denied(other.get_entity, namespace=name, token=token)

    def allowed(self, server, name, token):
        try:
            server.get_entity(namespace=name, token=token)
            return True
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.PERMISSION_DENIED)
            return False

    def test_goes_on_while_access_lasts(self):
        stream = self.open(self.server.token("sara", role="viewer"))
        ended = threading.Event()
        stream.add_done_callback(lambda _: ended.set())
        self.assertFalse(ended.wait(3))
        stream.cancel()


class WithoutPostgres(Case):
    def test_calls_fail_streams_go_on_and_both_recover(self):
        grant = self.server.grant(principal="petra", role=VIEWER, token=self.root).grant
        token = self.server.token("petra")
        stream = self.server.watch_positions(token=token, timeout=60)
        next(stream)
        ended = threading.Event()
        stream.add_done_callback(lambda _: ended.set())
        self.server.set_postgres(False)
        time.sleep(1.2)  # what was known of grants is too old now
        self.refused(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", self.server.get_entity, token=token)
        self.assertFalse(ended.wait(2))
        self.server.set_postgres(True)

        def serves():
            try:
                self.server.get_entity(token=token)
                return True
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
                return False

        auth_support.wait_for(serves, "calls go on", 10)
        self.assertFalse(ended.is_set())
        self.server.revoke(grant_id=grant.grant_id, token=self.root)
        self.assertTrue(ended.wait(1))
        self.assertEqual(stream.code(), grpc.StatusCode.PERMISSION_DENIED)


class Issuers(unittest.TestCase):
    def test_unreachable_issuer(self):
        port = auth_support.free_port()
        server = AuthServer(issuers=[(f"http://127.0.0.1:{port}", "waymark")])
        self.addCleanup(server.stop)
        claims = {"iss": f"http://127.0.0.1:{port}", "aud": "waymark", "sub": "a", "exp": time.time() + 60}
        with self.assertRaises(grpc.RpcError) as caught:
            server.who_am_i(token=forge({"alg": "RS256", "kid": "k"}, claims, b"x" * 256))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(auth_support.reason_of(caught.exception), "TOKEN_ISSUER_UNREACHABLE")


if __name__ == "__main__":
    unittest.main()
