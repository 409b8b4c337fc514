"""Hostile HTTP/2 peers against waymarkd behind its gate: what must hold for each of them.

Memory stays under 100 MB above idle, a well-behaved client's p99 under 50 ms while the attack lasts,
and a second after it everything is as before; the floods that are cheapest to send are cut within
100 ms. tests/hostile plays the peers and the client. A busy machine may break a bound by itself, so
an attack that does is played again; the bounds stay.
"""

import os
import sys
import unittest

import harness

sys.path.insert(0, os.path.abspath("tests/hostile"))
import measure  # noqa: E402

HOSTILE = os.path.abspath("tests/hostile/waymark_hostile")
GROWTH_MAX_MB = 100
P99_MAX_MS = 50
RECOVERY_MAX_MS = 1000
CUT_MAX_MS = 100
CUT_SOON = ("rapid_reset", "request_reset", "continuation_flood", "empty_continuation_flood")
SECONDS = 2
TRIES = 4


def broken(row):
    """What does not hold, in words."""
    report = row.report
    checks = [
        (row.killed or row.died or not report, "the server or the attack did not live to the end"),
        (row.grown_mb > GROWTH_MAX_MB, f"memory grew by {row.grown_mb:.0f} MB"),
        (row.p99 > P99_MAX_MS, f"the good client's p99 is {row.p99:.1f} ms ({row.failed} failed)"),
        (row.new_p99 > P99_MAX_MS, f"the p99 on new connections is {row.new_p99:.1f} ms"),
        (row.recovery > RECOVERY_MAX_MS, f"recovery took {row.recovery:.0f} ms"),
    ]
    if row.attack in CUT_SOON and report:
        checks.append((report["cut"] == 0, "no connection was cut"))
        checks.append((report["max_cut_ms"] > CUT_MAX_MS, f"a cut took {report['max_cut_ms']:.0f} ms"))
    return [words for is_broken, words in checks if is_broken]


class HostilePeers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.base = harness.Server().start()
        cls.addClassCleanup(cls.base.close)

    def check(self, attack):
        tries = []
        for _ in range(TRIES):
            server = harness.Server(join=self.base, options=["--gate", "always"]).start()
            try:
                target = measure.Target(server.address, server.process.pid, realtime=measure.may_be_realtime())
                row = measure.play(HOSTILE, target, attack, SECONDS)
            finally:
                server.close()
            print("\n".join(measure.table([(attack, {"gate": row})])[2:]), flush=True)
            tries.append(broken(row))
            if not tries[-1]:
                return
        self.fail(f"{attack}: " + "; then ".join(", ".join(words) for words in tries))


def add_tests():
    for attack in measure.attacks(HOSTILE):
        setattr(HostilePeers, f"test_{attack}", lambda self, attack=attack: self.check(attack))


add_tests()

if __name__ == "__main__":
    harness.main("__main__")
