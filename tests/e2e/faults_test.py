"""Redis and PostgreSQL go away under load: nothing acknowledged is lost, nothing is doubled."""

import glob
import os
import signal
import subprocess
import threading
import time
import unittest

import grpc
from google.protobuf import timestamp_pb2

import harness
from harness import bearer, reason

from waymark.geo.v1 import geo_pb2, track_service_pb2, track_service_pb2_grpc

WRITERS = 8
POSTGRES_BIN = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
RETRIABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class Load:
    """Writers that report one fix after the other and remember which were acknowledged."""

    def __init__(self, server, operator):
        self.server = server
        self.operator = operator
        self.stop = threading.Event()
        self.acknowledged = [0] * WRITERS
        self.reasons = set()
        self.broken = []
        self.threads = [threading.Thread(target=self._write, args=(n,)) for n in range(WRITERS)]
        for thread in self.threads:
            thread.start()

    def _write(self, writer):
        with self.server.channel() as channel:
            stub = track_service_pb2_grpc.TrackServiceStub(channel)
            second = 0
            while not self.stop.is_set():
                position = geo_pb2.Position(
                    entity_id=f"load-{writer}",
                    time=timestamp_pb2.Timestamp(seconds=1_600_000_000 + second),
                    lon_deg=writer,
                    lat_deg=second % 80,
                )
                request = track_service_pb2.ReportPositionsRequest(positions=[position])
                try:
                    stub.ReportPositions(request, metadata=self.operator, timeout=10)
                except grpc.RpcError as error:
                    self.reasons.add(reason(error))
                    if error.code() not in RETRIABLE:
                        self.broken.append(error)
                        return
                    time.sleep(0.05)
                    continue
                second += 1
                self.acknowledged[writer] = second

    def total(self):
        return sum(self.acknowledged)

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


class Faults(unittest.TestCase):
    def setUp(self):
        self.server = harness.Server().start()
        self.addCleanup(self.server.close)
        self.operator = bearer(self.server.token("olga", "operator"))

    def goes_on(self, load, more=200, timeout_s=60):
        start = load.total()
        harness.wait_for(lambda: load.total() > start + more or load.broken, "writes go on", timeout_s)
        self.assertEqual(load.broken, [])

    def stored(self, writer):
        times = []
        with self.server.channel() as channel:
            stub = track_service_pb2_grpc.TrackServiceStub(channel)
            token = ""
            while True:
                request = track_service_pb2.GetTrackRequest(entity_id=f"load-{writer}", page_size=1000, page_token=token)
                reply = stub.GetTrack(request, metadata=self.operator)
                times += [p.time.seconds - 1_600_000_000 for p in reply.positions]
                token = reply.next_page_token
                if not token:
                    return times

    def nothing_lost_or_doubled(self, load):
        for writer in range(WRITERS):
            times = self.stored(writer)
            self.assertEqual(len(times), len(set(times)), "doubled")
            # At most the last, unacknowledged one may be there as well.
            self.assertEqual(set(range(load.acknowledged[writer])) - set(times), set(), "lost")
            self.assertLessEqual(len(times), load.acknowledged[writer] + 1)

    def test_redis_is_killed(self):
        load = Load(self.server, self.operator)
        self.addCleanup(load.finish)
        self.goes_on(load)
        os.kill(self.server.pid("redis"), signal.SIGKILL)
        self.goes_on(load)
        load.finish()
        self.assertEqual(load.reasons, set(), "a call failed for want of Redis")
        self.nothing_lost_or_doubled(load)

    def test_postgres_crashes_three_times_under_load(self):
        load = Load(self.server, self.operator)
        self.addCleanup(load.finish)
        for _ in range(3):
            self.goes_on(load)
            before = self.server.pid("postgres")
            os.kill(before, signal.SIGKILL)
            harness.wait_for(lambda before=before: self.server.pid("postgres") != before, "PostgreSQL is back", 60)
        self.goes_on(load)
        load.finish()
        self.assertLessEqual(load.reasons, {"STORE_UNAVAILABLE", "COMMIT_UNKNOWN", ""})
        self.nothing_lost_or_doubled(load)

    def test_postgres_is_restarted_by_its_own_tool(self):
        load = Load(self.server, self.operator)
        self.addCleanup(load.finish)
        self.goes_on(load)
        data = os.path.realpath(f"/proc/{self.server.pid('postgres')}/cwd")
        owner = os.stat(data)
        command = [f"{POSTGRES_BIN}/pg_ctl", "-D", data, "restart", "-m", "fast", "-w", "-l", f"{data}/restart.log"]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"] + command
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
        self.goes_on(load)
        load.finish()
        self.nothing_lost_or_doubled(load)
        self.assertEqual(self.server.stop(), 0)
        self.assertFalse(os.path.exists(f"{data}/postmaster.pid"), "it was left running")

    def test_sigterm_lets_calls_end(self):
        load = Load(self.server, self.operator)
        self.addCleanup(load.finish)
        self.goes_on(load)
        self.assertEqual(self.server.stop(), 0)
        self.server.start()
        self.goes_on(load)
        load.finish()
        self.nothing_lost_or_doubled(load)


if __name__ == "__main__":
    harness.main("__main__")
