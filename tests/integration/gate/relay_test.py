"""What goes through the gate: bytes as they are, slow peers, who the peer is, balancers, stop."""

import json
import socket
import struct
import threading
import time
import unittest

import grpc
import http2
import support
from http2 import DATA, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, Connection, frame

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def proxy_header(source="192.0.2.7", port=4711, command=0x21):
    addresses = socket.inet_aton(source) + socket.inet_aton("10.0.0.1") + struct.pack(">HH", port, 443)
    return SIGNATURE + bytes([command, 0x11]) + struct.pack(">H", len(addresses)) + addresses


def peer_of(connection, stream=1):
    data = connection.call("Peer", stream)
    return json.loads(data[data.index(b"{") :])["peer"]


def wide_windows(connection):
    connection.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**30)))
    connection.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**30)))
    connection.settle()


class Relay(support.Case):
    def test_the_peer_is_the_clients_own_address(self):
        connection = Connection(self.server.port, source="127.0.0.5")
        self.assertEqual(peer_of(connection), "ipv4:127.0.0.5:%d" % connection.local_port())
        connection.close()

    def test_many_calls_at_once(self):
        # Each on a connection of its own: its first write to the core is the largest.
        for _ in range(10):
            with self.server.channel() as channel:
                echo = support.method(channel, "Echo")
                futures = [echo.future(support.S(value=str(i)), timeout=60) for i in range(1000)]
                self.assertEqual([f.result().value for f in futures], [str(i) for i in range(1000)])

    def test_cancelled_calls_are_cancelled(self):
        before = support.stats(self.channel)
        call = support.method(self.channel, "Hold").future(support.S(value="x"))
        support.wait_for_stats(self.channel, held_calls=before["held_calls"] + 1)
        call.cancel()
        support.wait_for_stats(self.channel, cancelled=before["cancelled"] + 1)

    def test_a_client_that_goes_takes_its_calls_along(self):
        before = support.stats(self.channel)
        connection = Connection(self.server.port)
        for n in range(10):
            connection.send(http2.request("Hold", 2 * n + 1))
        support.wait_for_stats(self.channel, held_calls=before["held_calls"] + 10)
        connection.close()
        support.wait_for_stats(self.channel, cancelled=before["cancelled"] + 10)

    def test_a_slow_reader_costs_little_and_gets_everything(self):
        rss = self.server.rss_kb()
        connection = Connection(self.server.port)
        wide_windows(connection)
        total, size = 3000, 100000
        connection.send(http2.request("Count", 1, "%d %d" % (total, size)))
        support.wait_for(lambda: support.stats(self.channel)["held"] > 0)
        for _ in range(20):
            self.assertLess(support.stats(self.channel)["held"], 300000)
            self.assertLess(self.server.rss_kb() - rss, 20000 * self.server.memory_factor)
            time.sleep(0.02)
        data = b"".join(
            f.payload for f in connection.read_until(lambda f: f.kind == HEADERS and f.flags & 1) if f.kind == DATA
        )
        at, numbers = 0, []
        while at < len(data):
            length = int.from_bytes(data[at + 1 : at + 5], "big")
            message = data[at + 5 : at + 5 + length]
            text = message[-size:]
            numbers.append(int(text[:10]))
            self.assertEqual(text[10:], b"x" * (size - 10))
            at += 5 + length
        self.assertEqual(numbers, list(range(total)))
        self.assertEqual(support.stats(self.channel)["held"], 0)
        connection.close()

    def test_many_slow_readers_hold_little(self):
        rss = self.server.rss_kb()
        connections = []
        for _ in range(100):
            connection = Connection(self.server.port)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wide_windows(connection)
            connection.send(http2.request("Count", 1, "100 100000"))
            connections.append(connection)
        support.wait_for(lambda: support.stats(self.channel)["held"] > 0)
        self.assertLess(self.server.rss_kb() - rss, 64000 * self.server.memory_factor)
        self.assertEqual(support.call(self.channel, "Echo", "alive"), "alive")
        for connection in connections:
            connection.close()
        support.wait_for(lambda: support.stats(self.channel)["held"] == 0)

    def test_a_writer_into_a_handler_that_does_not_read_is_held_back(self):
        rss = self.server.rss_kb()
        sent = []
        stop = threading.Event()

        def messages():
            while not stop.is_set() and len(sent) < 1000:
                sent.append(1)
                yield support.S(value="x" * 1000000)

        call = support.method(self.channel, "Sink", "stream_unary").future(messages(), timeout=60)
        time.sleep(1)
        self.assertLess(len(sent), 50)
        self.assertLess(self.server.rss_kb() - rss, 30000 * self.server.memory_factor)
        stop.set()
        call.cancel()

    def test_what_the_core_said_before_it_closed_is_relayed_to_its_end(self):
        for _ in range(5):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            sock.settimeout(20)
            sock.connect(("127.0.0.1", self.server.port))
            connection = Connection(self.server.port, sock=sock)
            self.addCleanup(connection.close)
            wide_windows(connection)
            connection.send(http2.request("Count", 1, "1000 100000"))
            support.wait_for(lambda: support.stats(self.channel)["held"] > 0)
            # What comes after SETTINGS of a size that they cannot have is not read any more.
            connection.socket.settimeout(0.2)
            connection.send(frame(SETTINGS, 0, 0, b"12345") + frame(DATA, 0, 1, b"x" * 16000) * 20)
            connection.socket.settimeout(20)
            _, frames = connection.end()
            self.assertEqual((frames[-1].kind, frames[-1].stream), (RST_STREAM, 1))

    def test_connections_leave_nothing_behind(self):
        connection = Connection(self.server.port)
        connection.settle()
        connection.close()
        support.wait_for(lambda: support.stats(self.channel)["open"] == 1)
        files = self.server.files()
        for _ in range(50):
            connection = Connection(self.server.port)
            connection.settle()
            connection.close()
        support.wait_for(lambda: support.stats(self.channel)["open"] == 1)
        support.wait_for(lambda: self.server.files() <= files)


class Threads(Relay):
    ARGS = ("--threads", "3")


class Shared(Relay):
    """On the loop that handlers run on."""

    ARGS = ("--shared",)


class Proxy(support.Case):
    ARGS = ("--proxy", "127.0.0.2/31", "--limit", "handshake-ms=2000")

    def test_the_client_is_who_the_balancer_says(self):
        connection = Connection(self.server.port, source="127.0.0.2", before=proxy_header())
        self.assertEqual(peer_of(connection), "ipv4:192.0.2.7:4711")
        connection.close()

    def test_a_header_cut_into_bytes_is_one(self):
        connection = Connection(self.server.port, source="127.0.0.3", preface=False)
        for byte in proxy_header(port=4712):
            connection.send(bytes([byte]))
            time.sleep(0.001)
        connection.send(http2.PREFACE + frame(SETTINGS, 0, 0))
        self.assertEqual(peer_of(connection), "ipv4:192.0.2.7:4712")
        connection.close()

    def test_a_balancers_own_check_is_served(self):
        connection = Connection(self.server.port, source="127.0.0.2", before=proxy_header(command=0x20))
        self.assertEqual(peer_of(connection), "ipv4:127.0.0.2:%d" % connection.local_port())
        connection.close()

    def test_from_a_balancer_nothing_else_is_taken(self):
        before = support.stats(self.channel)["bad_proxy_header"]
        for start in (b"", b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", proxy_header(command=0x25)):
            connection = Connection(self.server.port, source="127.0.0.2", before=start)
            self.assertEqual(connection.end(), (None, []))
            connection.close()
        self.assertEqual(support.stats(self.channel)["bad_proxy_header"], before + 3)

    def test_from_others_no_header_is_taken(self):
        connection = Connection(self.server.port, source="127.0.0.9", before=proxy_header())
        self.assertEqual(connection.end()[1], [])
        connection.close()
        connection = Connection(self.server.port, source="127.0.0.9")
        self.assertEqual(peer_of(connection), "ipv4:127.0.0.9:%d" % connection.local_port())
        connection.close()

    def test_a_header_has_its_time(self):
        connection = Connection(self.server.port, source="127.0.0.2", preface=False)
        connection.send(proxy_header()[:20])
        self.assertEqual(connection.end(), (None, []))
        self.assertGreater(support.stats(self.channel)["handshake_time"], 0)
        connection.close()


class Numbers(support.Case):
    """The core knows a connection by a number that is used again; no call may be taken for another's."""

    ARGS = ("--files", "640")

    def test_each_call_sees_its_own_peer_also_when_numbers_come_round(self):
        served = refused = 0
        until = time.monotonic() + 60
        while served < 200 and time.monotonic() < until:
            connection = Connection(self.server.port)
            port = connection.local_port()
            try:
                peer = peer_of(connection)
            except ConnectionError:
                # All numbers have been used within their time of rest.
                refused += 1
                time.sleep(0.05)
            else:
                self.assertEqual(peer, "ipv4:127.0.0.1:%d" % port)
                served += 1
            connection.close()
        self.assertEqual(served, 200, "refused %d" % refused)
        self.assertGreater(refused, 0, "numbers came round without rest")


class Stop(unittest.TestCase):
    def is_listening(self, server):
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
        except ConnectionRefusedError:
            return False
        return True

    def test_drain_under_load_fails_no_call_that_was_taken(self):
        server = support.Server("--grace", "5000")
        channel = server.channel()
        echo = support.method(channel, "Echo")
        codes, stop = [], threading.Event()

        def work():
            while not stop.is_set():
                try:
                    echo(support.S(value="x"), timeout=10)
                    codes.append(grpc.StatusCode.OK)
                except grpc.RpcError as error:
                    codes.append(error.code())
                    time.sleep(0.01)

        workers = [threading.Thread(target=work) for _ in range(8)]
        for worker in workers:
            worker.start()
        support.wait_for(lambda: len(codes) > 500)
        code, last = server.stop()
        stop.set()
        for worker in workers:
            worker.join()
        channel.close()
        self.assertEqual(code, 0, server.log_text())
        self.assertTrue(last["stopped"])
        self.assertLessEqual(set(codes), {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE})
        self.assertNotIn("ERROR", server.log_text())
        server.log.close()

    def test_no_new_connections_while_calls_in_flight_end(self):
        server = support.Server("--grace", "1500")
        connection = Connection(server.port)
        connection.send(http2.request("Hold", 1))
        connection.settle()
        young = Connection(server.port, preface=False)
        server.terminate()
        self.assertEqual(young.end(), (None, []), "one that has not begun is closed")
        support.wait_for(lambda: not self.is_listening(server))
        frames = connection.end()[1]
        self.assertTrue(any(f.stream == 1 for f in frames), "the call in flight is told its end")
        self.assertEqual(server.stop()[0], 0)
        connection.close()
        young.close()
        server.log.close()

    def test_a_stop_with_nothing_to_wait_for_takes_no_time(self):
        def seconds():
            server = support.Server("--grace", "0", "--threads", "3")
            connection = Connection(server.port)
            connection.settle()
            connection.close()
            started = time.monotonic()
            code, _ = server.stop()
            server.log.close()
            self.assertEqual(code, 0)
            return time.monotonic() - started

        # Well below GATE_STOP_WAIT_MS; a busy machine may be slow once.
        self.assertLess(min(seconds() for _ in range(3)), 1)

    def test_immediate_stop_with_open_calls_and_held_bytes(self):
        server = support.Server("--grace", "0")
        connections = [Connection(server.port) for _ in range(20)]
        for i, connection in enumerate(connections):
            wide_windows(connection)
            connection.send(http2.request("Count" if i % 2 else "Hold", 1, "1000 100000"))
        connections[0].settle()
        started = time.monotonic()
        code, _ = server.stop()
        self.assertEqual(code, 0, server.log_text())
        self.assertLess(time.monotonic() - started, 10)
        for connection in connections:
            connection.close()
        server.log.close()


if __name__ == "__main__":
    unittest.main()
