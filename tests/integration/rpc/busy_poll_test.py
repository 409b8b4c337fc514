"""A queue thread looks for the next call only while it alone has work (server/rpc/busy_poll.h)."""

import os
import struct
import time
import unittest

import raw_http2
from support import S, Server, samples, wait_for

WINDOW_US = "1000"  # wide, since this client needs longer for a call than others


class BusyPoll(unittest.TestCase):
    def start(self, *args):
        self.server = Server("--lanes", "1", "--quiet", *args)
        self.addCleanup(self.end)
        self.connection = raw_http2.Connection(self.server.port)
        self.addCleanup(self.connection.close)
        self.connection.ping()

    def end(self):
        code, last = self.server.stop()
        self.assertEqual(code, 0)
        self.assertTrue(last["stopped"])

    def call(self, method, n):
        """One after the other."""
        message = S(value="x").SerializeToString()
        for _ in range(n):
            self.connection.ask("/waymark.test.Echo/" + method, 1, message)
            for kind, flags, _, payload in self.connection.frames():
                if kind == raw_http2.PING and not flags & raw_http2.ACK:
                    pong = raw_http2.frame(raw_http2.PING, raw_http2.ACK, 0, payload)
                    self.connection.socket.sendall(pong)
                if kind == raw_http2.HEADERS and flags & raw_http2.END_STREAM:
                    break

    def waits(self):
        """(found, in vain)"""
        shown = samples(self.server)
        return tuple(shown['waymark_rpc_busy_waits_total{result="%s"}' % name] for name in ("found", "in_vain"))

    def call_until_found(self):
        def found():
            self.call("Inline", 100)
            return self.waits()[0] > 0

        wait_for(found, 20)

    def cpu_s(self):
        with open("/proc/%d/stat" % self.server.process.pid) as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_finds_calls_that_follow_each_other_and_sleeps_after_them(self):
        self.start("--busy-poll-us", WINDOW_US)
        self.call_until_found()
        before = self.cpu_s()
        time.sleep(1)  # in which nothing may happen
        self.assertLess(self.cpu_s() - before, 0.3)

    def test_a_stream_that_only_is_open_does_not_matter(self):
        self.start("--busy-poll-us", WINDOW_US)
        message = S(value="x").SerializeToString()
        chat = self.connection.open("/waymark.test.Echo/Chat")
        self.connection.send(chat, struct.pack(">BI", 0, len(message)) + message)
        self.connection.wait(raw_http2.DATA, chat)  # the handler has it
        self.call_until_found()
        self.assertEqual(samples(self.server)['waymark_rpc_streams_open{lane="0"}'], 1)

    def test_never_while_the_loop_works(self):
        self.start("--busy-poll-us", WINDOW_US)
        self.call("Loop", 500)
        self.assertEqual(self.waits(), (0, 0))

    def test_never_when_told_so(self):
        self.start("--busy-poll-us", "-1")
        self.call("Inline", 500)
        self.assertEqual(self.waits(), (0, 0))

    def test_a_stop_is_not_missed(self):
        self.start("--busy-poll-us", WINDOW_US)
        self.call_until_found()
        begin = time.monotonic()
        self.doCleanups()
        self.assertLess(time.monotonic() - begin, 10)


if __name__ == "__main__":
    unittest.main()
