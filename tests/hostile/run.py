"""The program behind ./dev hostile: each attack against a server of its own, as a table.

    run.py --hostile PROGRAM [--base COMMAND] [--way NAME=COMMAND]... [--tls-way NAME=COMMAND]...
           [--seconds N] [--json] [--realtime] [ATTACK...]

A COMMAND starts one server: {port} and {issuer_port} in it become free ports, {state} a directory of
its own, {base} that of the --base server, which runs all the time and is not attacked. Each attack
has a server of each way that nobody has attacked before; attacks that need TLS have the --tls-ways.
"""

import argparse
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import measure

START_S = 120
START_TRIES = 3
STOP_S = 30


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server; what it leaves behind is in a directory that goes with it."""

    def __init__(self, command, hostile, tls=False, base="", realtime=False):
        self.command, self.hostile, self.tls, self.base = command, hostile, tls, base
        self.state = tempfile.mkdtemp(prefix="wm-hostile-")
        os.chmod(self.state, 0o755)  # PostgreSQL runs as another user
        self.log = open(os.path.join(self.state, "log"), "w+", encoding="utf-8")
        # A port that was free a moment ago may be somebody's by now.
        if not any(self._start() for _ in range(START_TRIES)):
            self.log.seek(0)
            sys.exit(f"{command} does not serve:\n{self.log.read()[-2000:]}")
        self.target = measure.Target(self.target.address, self.process.pid, tls, realtime)

    def _start(self):
        self.port = free_port()
        places = {"port": self.port, "issuer_port": free_port(), "state": self.state, "base": self.base}
        command = shlex.split(self.command.format(**places))
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.target = measure.Target(f"127.0.0.1:{self.port}", self.process.pid, self.tls)
        end = time.monotonic() + START_S
        probe = [self.hostile, "good", *self.target.arguments("127.0.0.1", 0.1)]
        while " ok" not in subprocess.run(probe, capture_output=True, text=True, check=True).stdout:
            if self.process.poll() is not None:
                return False
            if time.monotonic() > end:
                self.process.kill()
                return False
        return True

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.state, ignore_errors=True)


def play(options, attack, way, tls, base):
    command = way.split("=", 1)[1]
    server = Server(command, options.hostile, tls, base, options.realtime)
    try:
        return measure.play(options.hostile, server.target, attack, options.seconds)
    finally:
        server.close()


def play_all(options, attacks, base):
    """[(attack, {way: Row})]; those that need TLS against the ways that have it."""
    plain = set(measure.attacks(options.hostile))
    rows = []
    for attack in attacks:
        ways = options.way if attack in plain else options.tls_way
        done = {}
        for way in ways:
            name = way.split("=", 1)[0]
            done[name] = row = play(options, attack, way, attack not in plain, base)
            print(f"{attack} {name}: {json.dumps(row.as_dict())}", file=sys.stderr, flush=True)
        rows.append((attack, done))
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hostile", required=True)
    parser.add_argument("--base")
    parser.add_argument("--way", action="append", default=[])
    parser.add_argument("--tls-way", action="append", default=[])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("attack", nargs="*")
    options = parser.parse_args()
    known = measure.attacks(options.hostile, tls=True)
    for attack in options.attack:
        if attack not in known:
            sys.exit(f"there is no attack {attack}; these are: {', '.join(known)}")
    base = Server(options.base, options.hostile) if options.base else None
    try:
        rows = play_all(options, options.attack or known, base.state if base else "")
    finally:
        if base:
            base.close()
    if options.json:
        print(json.dumps([row.as_dict() | {"way": way} for _, ways in rows for way, row in ways.items()]))
    else:
        print("\n".join(measure.table(rows)))


if __name__ == "__main__":
    main()
