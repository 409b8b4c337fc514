"""Builds and runs the clients of the other languages against a server of their own.

    run.py OUT CLIENT...

Programs are built in OUT/CLIENT. Each step of a client is one test; the last line is the count.
WAYMARKD, WAYMARK and WAYMARK_PROTO as for tests/e2e/harness.py.
"""

import concurrent.futures
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
import judge  # noqa: E402

BUILD_S = 540
BUILDS_AT_ONCE = 2
RUN_S = 60
SKIPPED = 77  # what build.sh answers when something cannot be fetched


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


def run_client(server, name, index, program):
    """Runs it; what it printed, whether it ended well, and all that explains a failure."""
    environment = server.env() | {"WAYMARK_NAME": name, "WAYMARK_WEST": str(4 * index)}
    command = ["timeout", str(RUN_S), str(program)]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return done.stdout, done.returncode == 0, f"ended with {done.returncode}\n{done.stdout}{done.stderr}"


def wait_for_log(server, name, step):
    """Whether the server saw the call of this step end, which it may log a little later."""
    log = pathlib.Path(server.log.name)
    try:
        harness.wait_for(lambda: judge.server_saw(log.read_text(errors="replace"), name, step), "a log line", 5)
    except AssertionError:
        print(f"failed: {name} {step}: the server did not see the call end so")
        return False
    return True


def count_passed(server, name, index, program, expected):
    """Runs a client; how many of its steps passed. Prints the others."""
    began = time.monotonic()
    printed, ended_well, text = run_client(server, name, index, program)
    failed = judge.failed_steps(expected, printed, ended_well)
    for step in judge.SEEN_BY_SERVER:
        if step not in failed and not wait_for_log(server, name, step):
            failed.append(step)
    if failed:
        print(f"failed: {name} {' '.join(failed)}: {text}")
    else:
        print(f"passed: {name}, {len(expected)} steps in {time.monotonic() - began:.1f} s", flush=True)
    return len(expected) - len(failed)


def main(out, names):
    expected = judge.expected_steps((HERE / "README.md").read_text())
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
                good = count_passed(server, name, index, out / name / "client", expected)
            passed += good
            failed += len(expected) - good
    finally:
        server.close()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2:]))
