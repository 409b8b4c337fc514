"""Crossings by `geo import`: exactly those an independent program computes, also when the server
is killed during the import, and when two servers share the database."""

import csv
import json
import math
import os
import random
import signal
import subprocess
import tempfile
import time
import unittest

import geometry
import harness

SHARED_DATA = harness.SHARED / "data"


def synthetic(directory, entities=60, fixes=200, fences=30, seed=7):
    """Random walks over random star-shaped polygons: small enough for every machine."""
    rng = random.Random(seed)
    features = []
    for n in range(fences):
        lon, lat, size = rng.uniform(5, 9), rng.uniform(45, 48), rng.uniform(0.2, 0.9)
        ring = []
        corners = rng.randint(5, 12)
        for corner in range(corners):
            angle = 2 * math.pi * corner / corners
            reach = size * rng.uniform(0.4, 1)
            ring.append([round(lon + reach * math.cos(angle), 9), round(lat + reach * math.sin(angle), 9)])
        ring.append(ring[0])
        features.append(
            {"type": "Feature", "id": f"F-{n}", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        )
    fence_file = os.path.join(directory, "fences.geojson")
    with open(fence_file, "w", encoding="utf-8") as file:
        json.dump({"type": "FeatureCollection", "features": features}, file)
    places = [(rng.uniform(5, 9), rng.uniform(45, 48)) for _ in range(entities)]
    track_file = os.path.join(directory, "track.csv")
    with open(track_file, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["entity", "time", "lon", "lat", "alt", "speed", "heading"])
        for second in range(fixes):
            stamp = f"2024-02-03T{4 + second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
            for n, (lon, lat) in enumerate(places):
                lon, lat = lon + rng.gauss(0, 0.05), lat + rng.gauss(0, 0.05)
                places[n] = (lon, lat)
                writer.writerow([f"mover-{n}", stamp, f"{lon:.7f}", f"{lat:.7f}", "", "", ""])
    return track_file, fence_file


def expected(track_file, fence_file):
    return sorted(geometry.crossings(geometry.load_fixes(track_file), geometry.load_areas(fence_file)))


class Crossings(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.server = harness.Server().start()
        self.addCleanup(self.server.close)
        self.token = self.server.token()

    def events(self, server=None):
        rows = (server or self.server).cli_json("fence", "events", "--all", token=self.token)
        return sorted((r["entity"], r["fence"], r["kind"], r["time"]) for r in rows)

    def check(self, want, got):
        self.assertEqual(len(got), len(set(got)), "an event came twice")
        self.assertEqual(set(want) - set(got), set(), "missing")
        self.assertEqual(set(got) - set(want), set(), "invented")

    def start_import(self, server, track_file):
        environment = server.env()
        environment["WAYMARK_TOKEN"] = self.token
        return subprocess.Popen(
            [harness.WAYMARK, "geo", "import", track_file],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def test_import_gives_exactly_the_independent_list(self):
        track_file, fence_file = synthetic(self.directory.name)
        self.server.cli("fence", "put", fence_file, token=self.token)
        self.server.cli("geo", "import", track_file, token=self.token)
        self.check(expected(track_file, fence_file), self.events())

    def test_a_second_import_changes_nothing(self):
        track_file, fence_file = synthetic(self.directory.name, entities=20, fixes=50)
        self.server.cli("fence", "put", fence_file, token=self.token)
        self.server.cli("geo", "import", track_file, token=self.token)
        again = os.path.join(self.directory.name, "again.csv")
        os.link(track_file, again)
        self.server.cli("geo", "import", again, token=self.token)
        self.check(expected(track_file, fence_file), self.events())

    def test_five_kills_during_the_import_change_nothing(self):
        track_file, fence_file = synthetic(self.directory.name, entities=300, fixes=250)
        self.server.cli("fence", "put", fence_file, token=self.token)
        seen = 0
        for _ in range(5):
            importer = self.start_import(self.server, track_file)
            try:
                harness.wait_for(
                    lambda seen=seen, importer=importer: len(self.events()) > seen or importer.poll() is not None,
                    "the import goes on",
                    60,
                )
                self.server.kill()
            finally:
                importer.kill()
                importer.wait()
                importer.stdout.close()
            self.server.start()
            seen = len(self.events())
        self.server.cli("geo", "import", track_file, token=self.token)
        self.check(expected(track_file, fence_file), self.events())

    def cut_database_off(self, seconds):
        """No connection stays or can be made, for longer than the server lets work wait (2 s)."""
        with open(os.path.join(self.server.state, "dev.env"), encoding="utf-8") as file:
            host = dict(line.strip().split("=", 1) for line in file)["PGHOST"]
        path = os.path.join(host, ".s.PGSQL.5432")
        os.rename(path, path + ".away")
        postgres = self.server.pid("postgres")
        with open(f"/proc/{postgres}/task/{postgres}/children", encoding="ascii") as file:
            children = file.read().split()
        for child in children:
            with open(f"/proc/{child}/cmdline", "rb") as file:
                if file.read().startswith(b"postgres: waymark "):
                    os.kill(int(child), signal.SIGTERM)
        time.sleep(seconds)
        os.rename(path + ".away", path)

    def test_a_database_that_was_away_costs_no_crossing(self):
        track_file, fence_file = synthetic(self.directory.name, entities=300, fixes=250)
        self.server.cli("fence", "put", fence_file, token=self.token)
        importer = self.start_import(self.server, track_file)
        for _ in range(2):
            time.sleep(0.4)
            self.cut_database_off(2.7)
        output, _ = importer.communicate(timeout=120)
        self.assertEqual(importer.returncode, 0, output.decode())
        self.assertIn("0 late", output.decode())
        self.check(expected(track_file, fence_file), self.events())

    def test_two_servers_share_the_database(self):
        track_file, fence_file = synthetic(self.directory.name, entities=80, fixes=150)
        second = harness.Server(join=self.server).start()
        self.addCleanup(second.close)
        second.cli("fence", "put", fence_file, token=self.token)
        halves = [os.path.join(self.directory.name, f"half-{n}.csv") for n in range(2)]
        with open(track_file, encoding="utf-8") as file:
            header, *rows = file.readlines()
        for n, half in enumerate(halves):
            with open(half, "w", encoding="utf-8") as file:
                file.writelines([header] + [row for row in rows if hash_of(row) % 2 == n])
        importers = [self.start_import(s, h) for s, h in zip((self.server, second), halves)]
        for importer in importers:
            output, _ = importer.communicate(timeout=120)
            self.assertEqual(importer.returncode, 0, output.decode())
        want = expected(track_file, fence_file)
        self.check(want, self.events())
        self.check(want, self.events(second))

    @unittest.skipUnless(SHARED_DATA.is_dir(), "the shared track files are not on this machine")
    def test_flights_with_five_kills(self):
        self.server.cli("fence", "put", str(SHARED_DATA / "flights-areas.geojson"), token=self.token)
        track_file = os.path.join(self.directory.name, "flights.csv")
        os.symlink((SHARED_DATA / "flights.csv").resolve(), track_file)
        seen = 0
        for _ in range(5):
            importer = self.start_import(self.server, track_file)
            harness.wait_for(
                lambda seen=seen, importer=importer: len(self.events()) > seen or importer.poll() is not None,
                "the import goes on",
                60,
            )
            self.server.kill()
            importer.kill()
            importer.communicate()
            self.server.start()
            seen = len(self.events())
        self.server.cli("geo", "import", track_file, token=self.token)
        with open(SHARED_DATA / "flights-crossings.csv", encoding="utf-8", newline="") as file:
            want = sorted((r["entity"], r["fence"], r["kind"], r["time"]) for r in csv.DictReader(file))
        self.check(want, self.events())


def hash_of(row):
    """The mover's number: both servers get whole tracks."""
    return int(row.split(",")[0].split("-")[1])


if __name__ == "__main__":
    harness.main("__main__")
