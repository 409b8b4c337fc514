"""/metrics, /healthz and /readyz of a server that is called, and of one that stops."""

import re
import signal
import socket
import threading
import time
import unittest

import grpc

from support import Case, S, Server, get, samples, wait_for


def calls(method, code):
    return 'waymark_rpc_calls_total{method="/waymark.test.Echo/%s",code="%s"}' % (method, code)


class Metrics(Case):
    ARGS = ("--limit", "waymark.test.Echo/Stuck=1:1:100", "--calls", "50", "--lanes", "2")

    def grown(self, before, name):
        return samples(self.server).get(name, 0) - before.get(name, 0)

    def test_counts_calls_by_method_and_code(self):
        before = samples(self.server)
        for _ in range(7):
            self.server.unary("Loop", "x")
        with self.assertRaises(grpc.RpcError):
            self.server.unary("Fail", "x")
        with self.assertRaises(grpc.RpcError):
            self.server.unary("Nothing")
        # A call is counted when the core has let go of it, which may be after its answer.
        wait_for(lambda: self.grown(before, calls("Loop", "OK")) == 7)
        wait_for(lambda: self.grown(before, calls("Fail", "INVALID_ARGUMENT")) == 1)
        wait_for(lambda: self.grown(before, 'waymark_rpc_calls_total{method="/unknown",code="UNIMPLEMENTED"}') == 1)

    def test_times(self):
        before = samples(self.server)
        for ms in ("1", "60"):
            self.server.unary("Slow", ms)
        name = 'waymark_rpc_call_seconds_%s{method="/waymark.test.Echo/Slow"%s}'
        wait_for(lambda: self.grown(before, name % ("count", "")) == 2)
        self.assertEqual(self.grown(before, name % ("bucket", ',le="+Inf"')), 2)
        self.assertLessEqual(self.grown(before, name % ("bucket", ',le="0.05"')), 1)
        self.assertGreater(self.grown(before, name % ("sum", "")), 0.06)

    def test_messages_and_bytes(self):
        before = samples(self.server)
        self.server.unary("Loop", "x" * 10000)
        for direction in ("received", "sent"):
            self.assertEqual(self.grown(before, 'waymark_rpc_messages_total{direction="%s"}' % direction), 1)
            self.assertEqual(
                self.grown(before, 'waymark_rpc_message_bytes_total{direction="%s"}' % direction), 10003
            )

    def in_flight(self, name):
        found = samples(self.server)
        return sum(found['waymark_rpc_%s{lane="%d"}' % (name, lane)] for lane in range(2))

    def test_what_is_in_flight(self):
        wait_for(lambda: self.in_flight("calls_in_flight") == 0)
        watches = [self.server.method("unary_stream", "Watch")(S(value="x"), timeout=30) for _ in range(3)]
        for watch in watches:
            next(watch)
        stuck = self.server.method("unary_unary", "Stuck").future(S(value="x"), timeout=30)
        wait_for(lambda: self.in_flight("calls_in_flight") == 4)
        self.assertEqual(self.in_flight("streams_open"), 3)
        for call in watches + [stuck]:
            call.cancel()
        wait_for(lambda: self.in_flight("calls_in_flight") == 0)
        self.assertEqual(self.in_flight("streams_open"), 0)

    def test_limits(self):
        label = '{method="/waymark.test.Echo/Stuck"}'
        before = samples(self.server)
        method = self.server.method("unary_unary", "Stuck")
        first = method.future(S(value="x"), timeout=30)
        wait_for(lambda: samples(self.server)["waymark_rpc_limit_in_flight" + label] == 1)
        second, third = [method.future(S(value="x"), timeout=30) for _ in range(2)]
        self.assertEqual({second.code(), third.code()}, {grpc.StatusCode.RESOURCE_EXHAUSTED})
        self.assertEqual(self.grown(before, "waymark_rpc_limit_waited_total" + label), 1)
        self.assertEqual(self.grown(before, "waymark_rpc_limit_refused_total" + label), 2)
        self.assertEqual(self.grown(before, 'waymark_rpc_refused_total{reason="METHOD_BUSY"}'), 2)
        self.assertEqual(samples(self.server)["waymark_rpc_limit_waiting" + label], 0)
        first.cancel()

    def test_lanes_answer(self):
        found = samples(self.server)
        for lane in range(2):
            self.assertGreaterEqual(found['waymark_lane_delay_seconds{lane="%d"}' % lane], 0)
            self.assertLess(found['waymark_lane_delay_seconds{lane="%d"}' % lane], 5)

    def test_every_family_has_help_and_type_once_and_only_its_samples(self):
        for accept, total in (("*/*", True), ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", False)):
            _, text, headers = get(self.server, "/metrics", Accept=accept)
            kinds, current = {}, None
            for line in text.splitlines():
                if line.startswith("# TYPE"):
                    _, _, current, kind = line.split()
                    self.assertNotIn(current, kinds)
                    kinds[current] = kind
                elif not line.startswith("#"):
                    name = re.match("[a-z_0-9]+", line).group()
                    endings = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
                    counter = ("",) if total else ("_total",)
                    allowed = endings.get(kinds[current], counter if kinds[current] == "counter" else ("",))
                    self.assertIn(name, [current + ending for ending in allowed])
            self.assertIn("openmetrics" if not total else "version=0.0.4", headers["Content-Type"])
            self.assertEqual(text.endswith("# EOF\n"), not total)
            self.assertIn("histogram", kinds.values())

    def test_other_questions(self):
        self.assertEqual(get(self.server, "/healthz")[:2], (200, "alive\n"))
        self.assertEqual(get(self.server, "/readyz")[:2], (200, "serving\n"))
        self.assertEqual(get(self.server, "/healthz", method="HEAD")[:2], (200, ""))
        self.assertEqual(get(self.server, "/")[0], 404)
        self.assertEqual(get(self.server, "/../etc/passwd")[0], 404)
        status, _, headers = get(self.server, "/metrics", method="POST", body="x" * 100000)
        self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"))

    def test_one_address_leaves_connections_to_others(self):
        address = ("127.0.0.1", self.server.ports["http_port"])
        for _ in range(40):  # more than there are
            slow = socket.create_connection(address, source_address=("127.0.0.2", 0))
            self.addCleanup(slow.close)
            slow.sendall(b"G")
        self.assertEqual(get(self.server, "/healthz")[0], 200)

    def test_scrapes_under_load(self):
        method = self.server.method("unary_unary", "Loop")
        stop = threading.Event()

        def load():
            while not stop.is_set():
                method(S(value="x"), timeout=10)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        last = 0
        for _ in range(30):
            now = samples(self.server)[calls("Loop", "OK")] if last else 1
            self.assertGreaterEqual(now, last)
            last = now
            time.sleep(0.01)
        stop.set()
        for thread in threads:
            thread.join()


class Stopping(unittest.TestCase):
    def test_is_not_ready_while_it_drains(self):
        server = Server("--grace", "10000")
        slow = server.method("unary_unary", "Slow").future(S(value="1500"), timeout=10)
        wait_for(lambda: server.counters()["slow_now"] == 1)
        self.assertEqual(get(server, "/readyz")[0], 200)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: get(server, "/readyz")[0] == 503)
        self.assertEqual(get(server, "/healthz")[0], 200)
        self.assertEqual(samples(server)["waymark_rpc_serving"], 0)
        with self.assertRaises(grpc.RpcError):
            server.unary("Loop", "x")
        refused = 'waymark_rpc_refused_total{reason="SHUTTING_DOWN"}'
        self.assertGreaterEqual(samples(server)[refused], 1)
        self.assertEqual(slow.result().value, "done")
        self.assertEqual(server.stop()[0], 0)


if __name__ == "__main__":
    unittest.main()
