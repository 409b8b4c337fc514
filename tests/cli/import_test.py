"""geo import: every fix once and in order, whatever happens to the stream and to the command."""

import json
import os
import signal
import tempfile
import threading
import time
import unittest

import support

import grpc
from waymark.geo.v1 import geo_pb2, track_service_pb2, track_service_pb2_grpc


def key(position):
    return (position.entity_id, position.time.ToJsonString(), position.lon_deg, position.lat_deg)


class Tracks(track_service_pb2_grpc.TrackServiceServicer):
    """Keeps fixes as the real one does: in order, repeats change nothing. `trouble(message)` may
    answer with an error, "break" (the fixes are kept, the answer is lost) or None."""

    def __init__(self, trouble=lambda message: None):
        self.trouble = trouble
        self.fixes = []
        self.seen = set()
        self.messages = 0
        self.namespaces = set()
        self.lock = threading.Lock()

    def keep(self, message):
        outcomes = []
        for position in message.positions:
            known = key(position) in self.seen
            if not known:
                self.seen.add(key(position))
                self.fixes.append(key(position))
            outcomes.append(geo_pb2.POSITION_OUTCOME_DUPLICATE if known else geo_pb2.POSITION_OUTCOME_STORED)
        return outcomes

    def StreamPositions(self, requests, context):
        for message in requests:
            with self.lock:
                self.messages += 1
                self.namespaces.add(message.namespace)
                trouble = self.trouble(message)
                if trouble and trouble != "break":
                    yield track_service_pb2.StreamPositionsResponse(sequence=message.sequence, error=trouble)
                    continue
                outcomes = self.keep(message)
            if trouble == "break":
                context.abort(grpc.StatusCode.UNAVAILABLE, "the server is gone")
            yield track_service_pb2.StreamPositionsResponse(sequence=message.sequence, outcomes=outcomes)

    def GetTrack(self, request, context):
        found = [k for k in self.fixes if k[0] == request.entity_id]
        positions = []
        for entity, stamp, lon, lat in found:
            position = geo_pb2.Position(entity_id=entity, lon_deg=lon, lat_deg=lat)
            position.time.FromJsonString(stamp)
            if request.start_time.ToNanoseconds() <= position.time.ToNanoseconds() < request.end_time.ToNanoseconds():
                positions.append(position)
        return track_service_pb2.GetTrackResponse(positions=positions[: request.page_size or 1000])


class Import(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def serve(self, tracks, port=0):
        server = support.Server((track_service_pb2_grpc.add_TrackServiceServicer_to_server, tracks), port=port)
        self.addCleanup(server.kill)
        return server

    def write(self, rows, name="track.csv", head="entity,time,lon,lat,alt,speed,heading", newline="\n"):
        path = os.path.join(self.directory.name, name)
        with open(path, "w", encoding="utf-8", newline="") as out:
            out.write(newline.join([head, *rows]) + newline)
        return path

    def rows(self, n=1000, entities=7):
        return [
            f"v{i % entities},2022-01-03T{i // 3600:02d}:{i // 60 % 60:02d}:{i % 60:02d}Z,{i % 90}.5,{i % 80}.25,,1.5,90"
            for i in range(n)
        ]

    def expected(self, rows):
        cells = [row.split(",") for row in rows]
        return [(c[0], c[1], float(c[2]), float(c[3])) for c in cells]

    def load(self, server, path, *more, **env):
        env.setdefault("XDG_STATE_HOME", os.path.join(self.directory.name, "state"))
        return support.run("geo", "import", path, "--address", server.address, "--json", *more, **env)

    def test_every_fix_arrives_once_and_in_order(self):
        tracks = Tracks()
        rows = self.rows(1234)
        done = self.load(self.serve(tracks), self.write(rows), "--batch", "100", "--namespace", "harbour")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(tracks.fixes, self.expected(rows))
        self.assertEqual(tracks.messages, 13)
        self.assertIn("harbour", tracks.namespaces)
        result = json.loads(done.stdout)
        self.assertEqual((result["rows"], result["stored"], result["duplicates"]), (1234, 1234, 0))

    def test_reads_csv_of_other_shapes(self):
        tracks = Tracks()
        rows = ['1.5,-2.5,"ship ""A""",2022-01-03T00:00:00.25Z,x', "3,4,b,2022-01-03T02:00:01+02:00,"]
        path = self.write(rows, head="\ufeffLon,lat,entity,time,note", newline="\r\n")
        done = self.load(self.serve(tracks), path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(
            tracks.fixes,
            [('ship "A"', "2022-01-03T00:00:00.250Z", 1.5, -2.5), ("b", "2022-01-03T00:00:01Z", 3.0, 4.0)],
        )

    def test_optional_columns_are_sent_or_left_out(self):
        seen = []
        tracks = Tracks(lambda message: seen.extend(message.positions))
        path = self.write(["a,2022-01-03T00:00:00Z,1,2,,0,", "a,2022-01-03T00:00:01Z,1,2,3,,4"])
        self.assertEqual(self.load(self.serve(tracks), path).returncode, 0)
        has = [[p.HasField(f) for f in ("alt_m", "speed_mps", "heading_deg")] for p in seen]
        self.assertEqual(has, [[False, True, False], [True, False, True]])

    def test_lost_answers_and_broken_streams_change_nothing(self):
        breaks = {3, 7, 8, 15}
        tracks = Tracks(lambda message: "break" if tracks.messages in breaks else None)
        rows = self.rows(1000)
        done = self.load(self.serve(tracks), self.write(rows), "--batch", "50", "--window", "4")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(tracks.fixes, self.expected(rows))
        self.assertGreaterEqual(json.loads(done.stdout)["breaks"], 3)

    def test_a_message_that_may_be_tried_again_is(self):
        failed = []

        def trouble(message):
            if message.sequence == 2 and not failed:
                failed.append(message)
            # The real server keeps nothing of the same stream behind a message that failed.
            if failed and tracks.messages <= 4:
                return track_service_pb2.StreamPositionsError(code=14, reason="STORE_UNAVAILABLE", message="later")
            return None

        tracks = Tracks(trouble)
        rows = self.rows(200)
        done = self.load(self.serve(tracks), self.write(rows), "--batch", "50", "--window", "4")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(tracks.fixes, self.expected(rows))

    def test_a_refused_fix_is_named_by_its_line(self):
        def trouble(message):
            for n, position in enumerate(message.positions):
                if position.lon_deg == 42.5:
                    return track_service_pb2.StreamPositionsError(
                        code=3, reason="TIME_IN_FUTURE", field=f"positions[{n}].time", message="too far ahead"
                    )
            return None

        tracks = Tracks(trouble)
        rows = self.rows(60)
        path = self.write(rows[:10] + [""] + rows[10:])
        done = self.load(self.serve(tracks), path, "--batch", "25")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{path}:45: INVALID_ARGUMENT TIME_IN_FUTURE: positions[17].time", done.stderr)

    def test_a_refusal_by_status_ends_it(self):
        class Refusing(Tracks):
            def StreamPositions(self, requests, context):
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")

        done = self.load(self.serve(Refusing()), self.write(self.rows(10)))
        self.assertEqual(done.returncode, 1)
        self.assertIn("PERMISSION_DENIED", done.stderr)

    def test_gives_up_in_time_and_says_how_to_go_on(self):
        path = self.write(self.rows(10))
        started = time.monotonic()
        done = support.run(
            "geo", "import", path, "--address", "127.0.0.1:1", "--retry-for", "1", XDG_STATE_HOME=self.directory.name
        )
        self.assertEqual(done.returncode, 1)
        self.assertLess(time.monotonic() - started, 20)
        self.assertIn("0 of 10 rows", done.stderr)

    def test_does_not_wait_for_ever_for_a_server_that_says_nothing(self):
        silent = threading.Event()
        self.addCleanup(silent.set)
        tracks = Tracks(lambda message: silent.wait(30) and None)
        started = time.monotonic()
        done = self.load(self.serve(tracks), self.write(self.rows(10)), "--retry-for", "2")
        self.assertEqual(done.returncode, 1)
        self.assertLess(time.monotonic() - started, 15)
        self.assertIn("0 of 10 rows", done.stderr)

    def test_waits_for_a_server_that_comes_back(self):
        tracks = Tracks()
        rows = self.rows(2000)
        gate = threading.Semaphore(5)
        tracks.trouble = lambda message: None if gate.acquire(timeout=10) else None
        server = self.serve(tracks)
        importer = support.start(
            "geo", "import", self.write(rows), "--address", server.address, "--batch", "100",
            XDG_STATE_HOME=self.directory.name,
        )
        self.addCleanup(importer.kill)
        while tracks.messages < 5:
            time.sleep(0.01)
        server.kill()
        time.sleep(0.5)
        for _ in range(100):
            gate.release()
        self.serve(tracks, server.port)
        _, errors = importer.communicate(timeout=60)
        self.assertEqual(importer.returncode, 0, errors)
        self.assertEqual(tracks.fixes, self.expected(rows))

    def killed_half_way(self, tracks, rows, **env):
        """The port of a server that has seen half an import, whose command was then killed."""
        gate = threading.Semaphore(10)
        tracks.trouble = lambda message: None if gate.acquire(timeout=0.5) else "break"
        server = self.serve(tracks)
        path = self.write(rows)
        importer = support.start(
            "geo", "import", path, "--address", server.address, "--batch", "50", "--window", "2",
            XDG_STATE_HOME=os.path.join(self.directory.name, "state"), **env
        )
        while tracks.messages < 10:
            time.sleep(0.01)
        time.sleep(0.8)
        importer.send_signal(signal.SIGKILL)
        importer.communicate()
        tracks.trouble = lambda message: None
        return server, path

    def test_another_run_goes_on_where_the_first_was_killed(self):
        tracks = Tracks()
        rows = self.rows(2000)
        server, path = self.killed_half_way(tracks, rows)
        half = len(tracks.fixes)
        self.assertLess(half, 2000)
        done = self.load(server, path)
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        self.assertGreater(result["resumed_after"], 0)
        self.assertLessEqual(result["resumed_after"], half)
        self.assertEqual(tracks.fixes, self.expected(rows))
        again = json.loads(self.load(server, path).stdout)
        self.assertEqual((again["resumed_after"], again["duplicates"]), (0, 2000), "a finished import is forgotten")

    def test_starts_anew_when_the_server_has_lost_it(self):
        tracks = Tracks()
        rows = self.rows(2000)
        server, path = self.killed_half_way(tracks, rows)
        server.kill()
        tracks = Tracks()
        server = self.serve(tracks, server.port)
        done = self.load(server, path)
        self.assertEqual(json.loads(done.stdout)["resumed_after"], 0)
        self.assertIn("starting anew", done.stderr)
        self.assertEqual(tracks.fixes, self.expected(rows))

    def test_starts_anew_when_the_file_has_changed_or_when_told_to(self):
        tracks = Tracks()
        rows = self.rows(2000)
        server, path = self.killed_half_way(tracks, rows)
        self.assertEqual(json.loads(self.load(server, path, "--restart").stdout)["resumed_after"], 0)
        server, path = self.killed_half_way(Tracks(), rows)
        path = self.write(rows + ["z,2022-01-04T00:00:00Z,1,2,,,"])
        self.assertEqual(json.loads(self.load(server, path).stdout)["resumed_after"], 0)

    def test_works_where_no_state_can_be_kept(self):
        tracks = Tracks()
        rows = self.rows(100)
        done = self.load(self.serve(tracks), self.write(rows), XDG_STATE_HOME="/proc/nowhere")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(tracks.fixes, self.expected(rows))
