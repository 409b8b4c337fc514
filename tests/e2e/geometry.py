"""An independent crossing computer: even-odd ray casting in pure Python, no library of the server's."""

import csv
import json


def _rings(geometry):
    if geometry["type"] == "Polygon":
        return [geometry["coordinates"]]
    return geometry["coordinates"]


class Area:
    def __init__(self, feature):
        self.id = feature.get("id") or feature["properties"]["id"]
        self.polygons = []
        for polygon in _rings(feature["geometry"]):
            xs = [x for x, _ in polygon[0]]
            ys = [y for _, y in polygon[0]]
            self.polygons.append((min(xs), min(ys), max(xs), max(ys), polygon))

    def contains(self, lon, lat):
        for west, south, east, north, rings in self.polygons:
            if west <= lon <= east and south <= lat <= north:
                inside = False
                for ring in rings:
                    if _odd(ring, lon, lat):
                        inside = not inside
                if inside:
                    return True
        return False


def _odd(ring, lon, lat):
    odd = False
    previous_lon, previous_lat = ring[-1]
    for here_lon, here_lat in ring:
        if (here_lat > lat) != (previous_lat > lat):
            at = (previous_lon - here_lon) * (lat - here_lat) / (previous_lat - here_lat) + here_lon
            if lon < at:
                odd = not odd
        previous_lon, previous_lat = here_lon, here_lat
    return odd


def load_areas(path):
    with open(path, encoding="utf-8") as file:
        return [Area(feature) for feature in json.load(file)["features"]]


def load_fixes(path):
    with open(path, encoding="utf-8", newline="") as file:
        return [(row["entity"], row["time"], float(row["lon"]), float(row["lat"])) for row in csv.DictReader(file)]


def crossings(fixes, areas):
    """[(entity, fence, kind, time)] of fixes in time order."""
    inside = {}
    found = []
    for entity, time, lon, lat in fixes:
        before = inside.get(entity, frozenset())
        now = frozenset(area.id for area in areas if area.contains(lon, lat))
        found += [(entity, fence, "enter", time) for fence in now - before]
        found += [(entity, fence, "exit", time) for fence in before - now]
        inside[entity] = now
    return found
