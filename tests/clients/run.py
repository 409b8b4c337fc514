"""Builds and runs the clients of the other languages against a server of their own.

    run.py OUT CLIENT...

Programs are built in OUT/CLIENT. Each step of a client is one test; the last line is the count.
WAYMARKD, WAYMARK and WAYMARK_PROTO as for tests/e2e/harness.py.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import harness  # noqa: E402

BUILD_S = 540
BUILDS_AT_ONCE = 2
RUN_S = 60
SKIPPED = 77  # what build.sh answers when something cannot be fetched

# How the server must have seen two of the calls end.
SEEN_BY_SERVER = {
    "cancel": ("/waymark.geo.v1.FenceService/WatchFenceEvents", ["CANCELLED"]),
    "deadline": ("/waymark.geo.v1.TrackService/WatchPositions", ["CANCELLED", "DEADLINE_EXCEEDED"]),
}


def expected_steps():
    scenario = (HERE / "README.md").read_text().split("## The scenario")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", scenario, re.MULTILINE)


def missing_tools(name):
    needs = re.search(r"^# needs: (.*)$", (HERE / name / "build.sh").read_text(), re.MULTILINE)
    return [tool for tool in needs[1].split() if not shutil.which(tool)]


def build(name, out):
    """Returns what went wrong, and whether that is no failure but a reason to skip."""
    missing = missing_tools(name)
    if missing:
        return f"{' '.join(missing)} not here", True
    log_path = out / f"{name}.log"
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with open(log_path, "w", encoding="utf-8") as log:
        command = ["timeout", str(BUILD_S), "nice", str(HERE / name / "build.sh"), str(out / name)]
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode
    print(f"built {name} in {time.monotonic() - began:.0f} s: status {status}", flush=True)
    if status == 0:
        return None, False
    tail = log_path.read_text(errors="replace")[-3000:]
    if status == SKIPPED:
        print(tail)
        return "what it needs cannot be fetched", True
    return f"build.sh: status {status}\n{tail}", False


def server_saw(server, name, step):
    """Whether the access log has the end of this client's call."""
    method, codes = SEEN_BY_SERVER[step]
    for line in pathlib.Path(server.log.name).read_text(errors="replace").splitlines():
        if method in line:
            entry = json.loads(line)
            if (entry["method"], entry["subject"]) == (method, name) and entry["code"] in codes:
                return True
    return False


def run_client(server, name, index, program):
    """Runs it and returns its steps and the text that explains a failure."""
    environment = server.env() | {"WAYMARK_NAME": name, "WAYMARK_WEST": str(4 * index)}
    try:
        done = subprocess.run(
            [str(program)], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_S
        )
        text, end = done.stdout + done.stderr, f"ended with {done.returncode}"
        steps = [line[3:] for line in done.stdout.splitlines() if line.startswith("ok ")]
        return steps, done.returncode == 0, f"{end}\n{text}"
    except subprocess.TimeoutExpired as late:
        steps = [line[3:] for line in (late.stdout or b"").decode().splitlines() if line.startswith("ok ")]
        return steps, False, f"did not end within {RUN_S} s\n{(late.stderr or b'').decode(errors='replace')}"


def judge(server, name, index, program, expected):
    """How many steps passed; prints the others."""
    began = time.monotonic()
    steps, ended_well, text = run_client(server, name, index, program)
    passed = []
    for step in expected:
        if len(passed) == len(steps) or steps[len(passed)] != step:
            break
        passed.append(step)
    failed = expected[len(passed) :]
    if not failed and (len(steps) != len(expected) or not ended_well):
        failed = passed[-1:]  # more than it should, or a bad end after the last step
    for step in SEEN_BY_SERVER:
        if step in passed:
            try:
                harness.wait_for(lambda step=step: server_saw(server, name, step), "a line in the access log", 5)
            except AssertionError:
                failed.append(step)
                print(f"failed: {name} {step}: the server did not see the call end so")
    if failed:
        print(f"failed: {name} {' '.join(failed)}: {text}")
    else:
        print(f"passed: {name}, {len(expected)} steps in {time.monotonic() - began:.1f} s", flush=True)
    return len(expected) - len(set(failed))


def main(out, names):
    expected = expected_steps()
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(BUILDS_AT_ONCE) as pool:
        builds = dict(zip(names, pool.map(lambda name: build(name, out), names)))
    server = harness.Server().start()
    try:
        for index, (name, (problem, is_skipped)) in enumerate(builds.items()):
            if is_skipped:
                print(f"skipped: {name}: {problem}")
                continue
            good = 0
            if problem:
                print(f"failed: {name}: {problem}")
            else:
                good = judge(server, name, index, out / name / "client", expected)
            passed += good
            failed += len(expected) - good
    finally:
        server.close()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2:]))
