"""Which steps of a client passed, from what it printed and what the server's log says. Pure."""

import json
import re

# How the server must have seen two of the calls end.
SEEN_BY_SERVER = {
    "cancel": ("/waymark.geo.v1.FenceService/WatchFenceEvents", ["CANCELLED"]),
    "deadline": ("/waymark.geo.v1.TrackService/WatchPositions", ["CANCELLED", "DEADLINE_EXCEEDED"]),
}


def expected_steps(readme):
    """The steps in the table of README.md."""
    scenario = readme.split("## The scenario")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", scenario, re.MULTILINE)


def failed_steps(expected, printed, ended_well):
    """Those that are missing. A client must print them all, in order, nothing beside, and end well."""
    steps = [line[3:] for line in printed.splitlines() if line.startswith("ok ")]
    passed = 0
    while passed < min(len(steps), len(expected)) and steps[passed] == expected[passed]:
        passed += 1
    if passed < len(expected):
        return expected[passed:]
    return [] if ended_well and len(steps) == len(expected) else expected[-1:]


def server_saw(log, name, step):
    """Whether the access log has the end of the call of this step, of the client of this name."""
    method, codes = SEEN_BY_SERVER[step]
    for line in log.splitlines():
        if method in line:
            entry = json.loads(line)
            if (entry.get("method"), entry.get("subject")) == (method, name) and entry.get("code") in codes:
                return True
    return False
