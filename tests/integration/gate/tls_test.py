"""TLS at the gate: versions, ALPN, client certificates and who they name, certificates that change."""

import json
import os
import socket
import ssl
import struct
import subprocess
import tempfile
import unittest

import grpc

import http2
import keys
import support
from http2 import Connection

NAME = "gate.test"


def openssl(*args, **kwargs):
    subprocess.run(["openssl", *args], check=True, stderr=subprocess.DEVNULL, **kwargs)


class Files:
    """A CA, and what it signs; and another CA that nobody trusts."""

    def __init__(self, directory):
        self.directory = directory
        for name in ("ca", "other"):
            openssl(
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=" + name, "-keyout", self.path(name + ".key"), "-out", self.path(name + ".pem"),
            )  # fmt: skip
        self.sign("server", "ca", "/CN=" + NAME, "DNS:" + NAME)
        self.sign(
            "client", "ca", "/O=fleet/CN=van 7",
            "DNS:van-7.fleet.test,DNS:van.fleet.test,URI:spiffe://fleet.test/van/7,email:van7@fleet.test",
        )  # fmt: skip
        self.sign("nameless", "ca", "/O=fleet", None)
        self.sign("stranger", "other", "/CN=van 7", None)

    def path(self, name):
        return os.path.join(self.directory, name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def sign(self, name, ca, subject, alternatives):
        openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
            "-keyout", self.path(name + ".key"), "-out", self.path(name + ".csr"),
        )  # fmt: skip
        with tempfile.NamedTemporaryFile("w", suffix=".cnf") as extensions:
            if alternatives:
                extensions.write("subjectAltName=" + alternatives + "\n")
            extensions.flush()
            openssl(
                "x509", "-req", "-in", self.path(name + ".csr"), "-days", "2", "-CA", self.path(ca + ".pem"),
                "-CAkey", self.path(ca + ".key"), "-CAcreateserial", "-out", self.path(name + ".pem"),
                "-extfile", extensions.name,
            )  # fmt: skip

    def credentials(self, client=None):
        if client is None:
            return grpc.ssl_channel_credentials(self.read("ca.pem"))
        return grpc.ssl_channel_credentials(
            self.read("ca.pem"), self.read(client + ".key"), self.read(client + ".pem")
        )

    def tls(self, port, client=None, alpn=("h2",), version=None):
        """A socket after its handshake."""
        context = ssl.create_default_context(cafile=self.path("ca.pem"))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if version:
            context.minimum_version = context.maximum_version = version
        if version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            context.set_ciphers("ALL:@SECLEVEL=0")
        if client:
            context.load_cert_chain(self.path(client + ".pem"), self.path(client + ".key"))
        raw = socket.create_connection(("127.0.0.1", port), timeout=20)
        try:
            return context.wrap_socket(raw, server_hostname=NAME)
        except BaseException:
            raw.close()
            raise


class TlsCase(support.Case):
    OPTIONS = [("grpc.ssl_target_name_override", NAME)]
    KIND = "--tls"

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.files = Files(cls.directory.name)
        arguments = [cls.KIND, cls.files.path("server.pem"), cls.files.path("server.key")]
        if cls.KIND == "--mtls":
            arguments.append(cls.files.path("ca.pem"))
        cls.server = support.Server(*arguments, *cls.ARGS)
        cls.channel = cls.open("client" if cls.KIND == "--mtls" else None)

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.directory.cleanup()

    @classmethod
    def open(cls, client=None):
        return cls.server.channel(cls.files.credentials(client), cls.OPTIONS)

    def peer(self, client=None):
        with self.open(client) as channel:
            return json.loads(support.call(channel, "Peer"))


class Tls(TlsCase):
    ARGS = ("--limit", "streams=1024")

    def test_calls_streams_and_large_messages(self):
        self.assertEqual(support.call(self.channel, "Echo", "hello"), "hello")
        text = "x" * 3000000
        self.assertEqual(support.call(self.channel, "Echo", text), text)
        count = support.method(self.channel, "Count", "unary_stream")
        got = [reply.value for reply in count(support.S(value="2000 20000"), timeout=60)]
        self.assertEqual([int(value[:10]) for value in got], list(range(2000)))
        self.assertEqual({len(value) for value in got}, {20000})

    def test_many_calls_at_once(self):
        # More than the address may open at once: the rest waits in the gate and in the TLS library.
        with self.files.tls(self.server.port) as sock:
            connection = Connection(None, sock=sock)
            connection.send(http2.frame(http2.WINDOW_UPDATE, 0, 0, b"\x40\0\0\0"))
            connection.settle()
            streams = range(1, 2001, 2)
            connection.send(b"".join(http2.request("Echo", stream, "x" * 100) for stream in streams))
            ended = set()
            while len(ended) < len(streams):
                got = connection.read()
                self.assertIsNotNone(got, "%d calls have ended" % len(ended))
                if got.kind == http2.HEADERS and got.flags & http2.END_STREAM:
                    ended.add(got.stream)
            self.assertEqual(ended, set(streams))

    def test_versions(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.files.tls(self.server.port, version=version) as sock:
                self.assertEqual(sock.selected_alpn_protocol(), "h2")
                self.assertIn(b"hello", Connection(None, sock=sock).call("Echo", 1, "hello"))
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.files.tls(self.server.port, version=ssl.TLSVersion.TLSv1_1)

    def test_without_h2_there_is_no_service(self):
        before = support.stats(self.channel)["bad_handshake"]
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.files.tls(self.server.port, alpn=("http/1.1",))
        with self.files.tls(self.server.port, alpn=None) as sock:
            self.assertEqual(Connection(None, sock=sock).end()[1], [])
        support.wait_for(lambda: support.stats(self.channel)["bad_handshake"] == before + 2)

    def test_no_tls_is_no_service(self):
        connection = Connection(self.server.port)
        self.assertEqual(connection.end()[0], None)
        connection.close()

    def test_a_breach_is_told_in_tls(self):
        with self.files.tls(self.server.port) as sock:
            connection = Connection(None, sock=sock)
            connection.settle()
            connection.send(b"\0\0\x08\x06\0\0\0\0\0" + b"12345678" * 1 + (b"\0\0\x08\x06\0\0\0\0\0" + b"12345678") * 500)
            goaway, _ = connection.end()
            self.assertEqual(goaway, (0, 0xB))

    def test_an_alert_goes_to_the_client_that_caused_it_and_to_no_other(self):
        with self.files.tls(self.server.port) as sock:
            other = Connection(None, sock=sock)
            other.settle()
            for stream in (1, 3, 5):
                with self.files.tls(self.server.port) as broken:
                    with socket.socket(fileno=os.dup(broken.fileno())) as raw:
                        raw.settimeout(20)
                        raw.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)  # no record of the session
                    with self.assertRaisesRegex(ssl.SSLError, "BAD_RECORD_MAC"):
                        while broken.recv(65536):
                            pass
                self.assertIn(b"hello", other.call("Echo", stream, "hello"))

    def test_a_reader_that_was_slow_gets_large_records_again(self):
        def read(size):
            """The largest record among so many bytes."""
            largest = 0
            while size > 0:
                n = len(sock.recv(16384))
                self.assertGreater(n, 0)
                largest = max(largest, n)
                size -= n
            return largest

        with self.files.tls(self.server.port) as sock:
            connection = Connection(None, sock=sock)
            connection.send(http2.frame(http2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 1 - 65535)))
            connection.send(http2.frame(http2.SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1)))
            connection.settle()
            connection.send(http2.request("Count", 1, "30000 30000"))
            # Each time that the gate has to hold something it gives the client less at a time.
            for _ in range(20):
                support.wait_for(lambda: support.stats(self.channel)["held"] > 0)
                read(8 << 20)
            read(32 << 20)
            self.assertEqual(read(32 << 20), 16384)

    def test_a_record_cut_into_bytes_is_one(self):
        context = ssl.create_default_context(cafile=self.files.path("ca.pem"))
        context.set_alpn_protocols(["h2"])
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(incoming, outgoing, server_hostname=NAME)
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=20) as raw:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                try:
                    session.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    for byte in outgoing.read():
                        raw.sendall(bytes([byte]))
                    incoming.write(raw.recv(65536))
            session.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            for byte in outgoing.read():
                raw.sendall(bytes([byte]))
            received = b""
            while len(received) < 9:
                incoming.write(raw.recv(65536))
                try:
                    received += session.read(65536)
                except ssl.SSLWantReadError:
                    pass
            self.assertEqual(received[3], 4, "SETTINGS")

    def test_without_a_client_certificate_there_is_no_identity(self):
        self.assertNotIn("cn", self.peer())


class Stalls(TlsCase):
    ARGS = ("--limit", "frame-stall-ms=300")

    def assertCutAfter(self, begun):
        """begun: how much of a record comes, behind a whole one."""
        before = support.stats(self.channel)["frame_stalled"]
        with self.files.tls(self.server.port) as sock:
            connection = Connection(None, sock=sock)
            connection.call("Echo", 1, "hello")
            with socket.socket(fileno=os.dup(sock.fileno())) as raw:
                raw.settimeout(20)
                raw.sendall((b"\x17\x03\x03\x40\x00" + b"x" * 16384)[:begun])
            self.assertEqual(connection.end()[0], (1, http2.ENHANCE_YOUR_CALM))
        self.assertEqual(support.stats(self.channel)["frame_stalled"], before + 1)

    def test_a_record_that_stops_in_the_middle_is_cut(self):
        for begun in (1, 5, 16300):
            self.assertCutAfter(begun)

    def test_one_that_stops_between_records_is_not(self):
        with self.files.tls(self.server.port) as sock:
            connection = Connection(None, sock=sock)
            connection.call("Echo", 1, "hello")
            self.assertCutAfter(1)  # another one, which is younger
            self.assertIn(b"again", connection.call("Echo", 3, "again"))


class Keys(TlsCase):
    """New keys are a message without data, and cost the server far more than the client."""

    def test_a_client_that_changes_its_keys_now_and_then_is_served(self):
        sock = keys.KeySocket(self.server.port)
        self.addCleanup(sock.close)
        connection = Connection(None, sock=sock)
        connection.settle()
        for stream in (1, 3, 5, 7):
            sock.change_keys(20, is_answered=stream % 4 == 1)
            self.assertIn(b"hello", connection.call("Echo", stream, "hello"))

    def test_one_that_does_nothing_else_is_cut(self):
        before = support.stats(self.channel)["tls_messages"]
        sock = keys.KeySocket(self.server.port)
        self.addCleanup(sock.close)
        connection = Connection(None, sock=sock)
        connection.call("Echo", 1, "hello")
        sock.socket.sendall(sock.key_changes(200))
        goaway, _ = connection.end()
        self.assertEqual(goaway, (1, http2.ENHANCE_YOUR_CALM))
        self.assertEqual(support.stats(self.channel)["tls_messages"], before + 1)
        self.assertEqual(support.call(self.channel, "Echo", "alive"), "alive")


class Mutual(TlsCase):
    KIND = "--mtls"

    def test_handlers_see_who_the_client_is(self):
        peer = self.peer("client")
        self.assertRegex(peer.pop("peer"), r"^ipv4:127\.0\.0\.1:\d+$")
        self.assertEqual(
            peer,
            {
                "cn": "van 7",
                "dns": ["van-7.fleet.test", "van.fleet.test"],
                "uris": ["spiffe://fleet.test/van/7"],
                "emails": ["van7@fleet.test"],
            },
        )

    def test_a_certificate_without_names_names_nobody(self):
        peer = self.peer("nameless")
        self.assertEqual((peer["cn"], peer["dns"], peer["uris"], peer["emails"]), ("", [], [], []))

    def test_no_certificate_or_one_of_another_ca_is_refused(self):
        for client in (None, "stranger"):
            with self.open(client) as channel:
                with self.assertRaises(grpc.RpcError) as caught:
                    support.call(channel, "Peer", timeout=5)
                self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)


class MutualAtTheCore(Mutual):
    """The same, served by the core itself: handlers cannot tell the difference."""

    ARGS = ("--core",)


class Reload(TlsCase):
    def serial(self):
        with self.files.tls(self.server.port) as sock:
            return sock.getpeercert()["serialNumber"]

    def replace(self, certificate, key):
        for name, data in (("server.key", key), ("server.pem", certificate)):
            with open(self.files.path("new"), "wb") as file:
                file.write(data)
            os.rename(self.files.path("new"), self.files.path(name))

    def test_new_files_are_served_without_a_restart_and_broken_ones_are_not(self):
        first = self.serial()
        old = self.files.read("server.pem"), self.files.read("server.key")
        self.files.sign("renewed", "ca", "/CN=" + NAME, "DNS:" + NAME)
        new = self.files.read("renewed.pem"), self.files.read("renewed.key")

        self.replace(b"no certificate", new[1])
        self.assertEqual(self.serial(), first)
        self.replace(new[0], old[1])
        self.assertEqual(self.serial(), first, "a certificate without its key")
        self.assertIn("the new TLS certificate was not taken", self.server.log_text())
        self.assertNotIn("PRIVATE", self.server.log_text())

        self.replace(*new)
        second = self.serial()
        self.assertNotEqual(second, first)
        self.assertEqual(support.call(self.channel, "Echo", "old connections stay"), "old connections stay")
        os.remove(self.files.path("server.pem"))
        self.assertEqual(self.serial(), second)


if __name__ == "__main__":
    unittest.main()
