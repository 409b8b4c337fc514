"""Tokens of a real OIDC provider: found by its discovery document, verified by its keys."""

import time
import unittest

import grpc

import auth_support
import glewlwyd
from auth_support import AuthServer

OPERATOR = 2


@unittest.skipUnless(glewlwyd.is_installed(), "glewlwyd is not installed")
class Provider(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.provider = glewlwyd.Glewlwyd()
        cls.addClassCleanup(cls.provider.stop)
        cls.rsa, _ = cls.provider.issuer("rsa")
        cls.ecdsa, _ = cls.provider.issuer("ecdsa", kind="ecdsa")
        cls.brief, _ = cls.provider.issuer("brief", lifetime_s=2)
        cls.other, _ = cls.provider.issuer("other")
        cls.server = AuthServer(
            issuers=[(issuer, "waymark") for issuer in (cls.rsa, cls.ecdsa, cls.brief)],
            admins=[f"{cls.rsa}#{glewlwyd.CLIENT}"],
        )
        cls.addClassCleanup(cls.server.stop)

    def refused(self, code, reason, token, call=None):
        with self.assertRaises(grpc.RpcError) as caught:
            (call or self.server.who_am_i)(token=token)
        found = auth_support.reason_of(caught.exception)
        self.assertEqual((caught.exception.code(), found), (code, reason), caught.exception.details())

    def unauthenticated(self, reason, token):
        self.refused(grpc.StatusCode.UNAUTHENTICATED, reason, token)

    def test_rsa_token_is_good(self):
        who = self.server.who_am_i(token=self.provider.token("rsa"))
        self.assertEqual(who.principal, f"{self.rsa}#{glewlwyd.CLIENT}")
        self.assertEqual((who.client_id, who.configured_admin), (glewlwyd.CLIENT, True))

    def test_ecdsa_token_is_good_and_another_principal(self):
        token = self.provider.token("ecdsa")
        who = self.server.who_am_i(token=token)
        self.assertEqual((who.principal, who.configured_admin), (f"{self.ecdsa}#{glewlwyd.CLIENT}", False))
        self.refused(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING", token, self.server.report_positions)
        self.server.grant(principal=who.principal, role=OPERATOR, token=self.provider.token("rsa"))
        self.server.report_positions(token=token)

    def test_wrong_audience(self):
        self.unauthenticated("TOKEN_AUDIENCE", self.provider.token("rsa", resource="https://another.example"))

    def test_expired(self):
        token = self.provider.token("brief")
        self.server.who_am_i(token=token)
        time.sleep(2.2)
        self.unauthenticated("TOKEN_EXPIRED", token)

    def test_issuer_that_is_not_configured(self):
        self.unauthenticated("TOKEN_ISSUER", self.provider.token("other"))

    def test_hs256_signed_with_the_public_key(self):
        issuer, public = self.provider.issuer("confused")
        server = AuthServer(issuers=[(issuer, "waymark")])
        self.addCleanup(server.stop)
        server.who_am_i(token=self.provider.token("confused"))
        # The same issuer now signs with the public key as a shared secret: the server still
        # has the RSA key, and its text is no secret.
        self.provider.issuer("confused", kind="sha", secret=public, replace=True)
        with self.assertRaises(grpc.RpcError) as caught:
            server.who_am_i(token=self.provider.token("confused"))
        self.assertEqual(auth_support.reason_of(caught.exception), "TOKEN_ALGORITHM")

    def test_rotated_key(self):
        issuer, _ = self.provider.issuer("rotating")
        server = AuthServer(issuers=[(issuer, "waymark")])
        self.addCleanup(server.stop)
        old = self.provider.token("rotating")
        server.who_am_i(token=old)
        older = self.provider.token("rotating")
        self.provider.issuer("rotating", replace=True)
        server.who_am_i(token=self.provider.token("rotating"))
        # Signed by the old key but never seen before: nobody vouches for it any more.
        with self.assertRaises(grpc.RpcError) as caught:
            server.who_am_i(token=older)
        self.assertEqual(auth_support.reason_of(caught.exception), "TOKEN_KEY_UNKNOWN")


@unittest.skipUnless(glewlwyd.is_installed(), "glewlwyd is not installed")
class UnreachableProvider(unittest.TestCase):
    def test_says_so_and_recovers(self):
        provider = glewlwyd.Glewlwyd()
        self.addCleanup(provider.stop)
        issuer, _ = provider.issuer("rsa")
        token = provider.token("rsa")
        provider.halt()
        server = AuthServer(issuers=[(issuer, "waymark")])
        self.addCleanup(server.stop)
        with self.assertRaises(grpc.RpcError) as caught:
            server.who_am_i(token=token)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(auth_support.reason_of(caught.exception), "TOKEN_ISSUER_UNREACHABLE")
        provider.start()

        def good():
            try:
                return server.who_am_i(token=token).subject
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
                return None

        auth_support.wait_for(good, "the token is good once its issuer is back", 10)


if __name__ == "__main__":
    unittest.main()
