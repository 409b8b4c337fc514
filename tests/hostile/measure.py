"""Plays a hostile peer against a running server beside a good client, and says what became of both.

    measure.play(program, server, "rapid_reset", seconds=3) -> Row

`program` is waymark_hostile. The server is watched by its process id; where its memory passes
MEMORY_CAP_MB the server is killed, which is a result too. Attacker and good client come from
different addresses of the loopback (127.0.0.1 and 127.0.0.2), as they would in the world.
"""

import json
import math
import os
import signal
import subprocess
import threading
import time

MEMORY_CAP_MB = 2500
ATTACKER = "127.0.0.1"
GOOD = "127.0.0.2"
BEFORE_S = 0.7  # the good client alone: it warms the server and shows what is usual
AFTER_S = 3.0  # and afterwards: recovery is looked for in there
BAD_MS = 50.0  # a call that takes longer was harmed
WINDOW_S = 0.25  # all is well when of the calls of such a time
WELL_SHARE = 0.05  # no more were harmed than this
SAMPLE_S = 0.005
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


class Target:
    """A server to attack: its address and process, and how calls reach it."""

    def __init__(self, address, pid, tls=False, realtime=False):
        self.address, self.pid, self.tls, self.realtime = address, pid, tls, realtime
        if realtime:
            subprocess.run(["chrt", "-a", "-r", "-p", "1", str(pid)], check=True)

    def arguments(self, source, seconds):
        options = ["--target", self.address, "--source", source, "--seconds", str(seconds)]
        return options + (["--tls"] if self.tls else [])


class Row:
    """What one attack came to. Times are milliseconds, memory is megabytes."""

    def __init__(self, attack):
        self.attack = attack
        self.idle_mb = self.peak_mb = self.after_mb = 0.0
        self.killed = self.died = False
        self.report = {}
        self.p50 = self.p99 = self.new_p99 = self.usual_p99 = self.recovery = math.inf
        self.calls = self.failed = 0

    @property
    def grown_mb(self):
        return self.peak_mb - self.idle_mb

    def cut(self):
        """How the server ended the attacker's connections, in a few words."""
        report = self.report
        if not report:
            return "the attack did not end"
        if not report["cut"]:
            return "refused" if report["refused"] else "never"
        how = "RST" if report["by_reset"] > report["cut"] / 2 else "close"
        if report["goaways"] > report["cut"] / 2:
            how = f"GOAWAY {report['goaway_code']}"
        return f"{how} after {report['median_cut_ms']:.1f} ms"

    def as_dict(self):
        values = {name: value for name, value in vars(self).items() if not isinstance(value, float)}
        for name in ("idle_mb", "peak_mb", "after_mb", "p50", "p99", "new_p99", "usual_p99", "recovery"):
            value = getattr(self, name)
            values[name] = None if math.isinf(value) else round(value, 2)
        return values | {"grown_mb": round(self.grown_mb, 1), "cut": self.cut()}


def resident_mb(pid):
    """None when the process has gone."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * PAGE_MB
    except (OSError, IndexError):
        return None


class Watch(threading.Thread):
    """Samples the memory of a process; kills it when it takes too much."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.stopping = pid, threading.Event()
        self.idle = self.peak = self.last = resident_mb(pid) or 0.0
        self.killed = self.died = False

    def run(self):
        while not self.stopping.wait(SAMPLE_S):
            now = resident_mb(self.pid)
            if now is None or now == 0.0:
                self.died = True
                return
            self.last, self.peak = now, max(self.peak, now)
            if now > MEMORY_CAP_MB:
                self.killed = True
                os.kill(self.pid, signal.SIGKILL)
                return

    def stop(self):
        self.stopping.set()
        self.join()


def percentile(values, share):
    """Infinite when there are none, or when the calls that failed reach into it."""
    if not values:
        return math.inf
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def read_calls(text):
    """[(kind, start in s, ms, or infinity for a call that failed)]"""
    calls = []
    for line in text.splitlines():
        kind, start, latency, outcome = line.split()
        calls.append((kind, int(start) / 1e6, int(latency) / 1e3 if outcome == "ok" else math.inf))
    return calls


def judge(row, calls, begin, end):
    def of(kind, first, last):
        return [ms for k, start, ms in calls if k == kind and first <= start < last]

    during = of("kept", begin, end)
    row.calls, row.failed = len(during), sum(map(math.isinf, during))
    row.p50, row.p99 = percentile(during, 0.5), percentile(during, 0.99)
    row.new_p99 = percentile(of("new", begin, end), 0.99)
    row.usual_p99 = percentile(of("kept", 0, begin), 0.99)
    row.recovery = recovery([(start, ms) for _, start, ms in calls if start >= end], end)


def recovery(after, end):
    """Milliseconds from the end of the attack to the quarter of a second in which all is well again."""
    last = max((start for start, _ in after), default=end)
    for since in [end] + sorted(start for start, _ in after):
        window = [ms for start, ms in after if since <= start < since + WINDOW_S]
        if since + WINDOW_S > last:
            break
        if sum(ms > BAD_MS for ms in window) <= len(window) * WELL_SHARE:
            return (since - end) * 1e3
    return math.inf


def may_be_realtime():
    """Real-time priority for the server and the good client keeps what else runs here out of the
    figures. The attacker only goes before the others: in the world it would not take the server's
    processors."""
    return subprocess.run(["chrt", "-r", "1", "true"], capture_output=True, check=False).returncode == 0


def play(program, target, attack, seconds=3.0, connections=None, rate=200):
    """One attack against one target."""
    row = Row(attack)
    whole = BEFORE_S + seconds + AFTER_S
    command = ["chrt", "-r", "1"] if target.realtime else []
    command += [program, "good", *target.arguments(GOOD, whole), "--rate", str(rate)]
    good = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    reader = threading.Thread(target=lambda: setattr(row, "text", good.stdout.read()))
    reader.start()
    time.sleep(BEFORE_S)
    watch = Watch(target.pid)
    watch.start()
    begin = time.monotonic()
    command = ["nice", "-n", "-20"] if target.realtime else []
    command += [program, attack, *target.arguments(ATTACKER, seconds)]
    command += ["--connections", str(connections)] if connections else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stderr}")
        row.report = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        pass
    end = time.monotonic()
    reader.join()
    good.wait()
    watch.stop()
    row.idle_mb, row.peak_mb, row.after_mb = watch.idle, watch.peak, watch.last
    row.killed, row.died = watch.killed, watch.died and not watch.killed
    judge(row, read_calls(vars(row).pop("text")), begin, end)
    return row


def attacks(program, tls=False):
    """The names of all, in their order; those that need TLS only where it is."""
    lines = subprocess.run([program, "list"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split()[0] for line in lines if tls or "--tls" not in line]


def milliseconds(value):
    return "no answer" if math.isinf(value) else f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"


def table(rows):
    """Lines of a Markdown table; `rows` are (attack, {way: Row})."""
    lines = [
        "| attack | | memory above idle | good client p50 / p99 | new connections p99 | recovery | attacker cut |",
        "|---|---|---|---|---|---|---|",
    ]
    for attack, ways in rows:
        name = f"`{attack}`"
        for way, row in ways.items():
            memory = f"{max(0, row.grown_mb):.0f} MB" + (", killed" if row.killed else ", died" if row.died else "")
            recovery = "none" if math.isinf(row.recovery) else f"{row.recovery:.0f} ms"
            lines.append(
                f"| {name} | {way} | {memory} | {milliseconds(row.p50)} / {milliseconds(row.p99)}"
                f" | {milliseconds(row.new_p99)} | {recovery} | {row.cut()} |"
            )
            name = ""
    return lines
