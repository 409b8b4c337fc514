"""Two servers on the same core: what `./dev bench grpcpp` and `./dev bench gate` run.

    compare.py --load H2_LOAD [OPTIONS] [NAME=SERVER...]

Each SERVER is a program that takes `--port 0`, says "serving on port N" and answers
grpc.testing.TestService/EmptyCall. All of them get the first core of the machine, the load generator the
last one. A round measures each server once, for a short time, one after the other and every second
round in the other order; so what else happens on the machine falls on all of them alike. A row's
figures are the medians of its rounds, its ratio the median of the first server's calls per second by
the second's of the same round.

With `--beside NAME PORT PID PATH [TOKEN]` a server that runs already (waymarkd) is measured in the same
rounds, on its own method and pinned to the same core meanwhile. `./dev bench gate` compares two listeners
of one such server.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys

EMPTY_CALL = "/grpc.testing.TestService/EmptyCall"
FIGURES = ("per_s", "p50_us", "p99_us", "cpu_server_us_per_op")


def cores():
    """The server's core and the load generator's."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def on_core(core, realtime):
    command = ["taskset", "-c", str(core)]
    return ["chrt", "-r", "1"] + command if realtime else command


class Server:
    """A server of a run: started here and pinned to its core."""

    path = EMPTY_CALL
    headers = ()

    def __init__(self, name, program, prefix):
        self.name = name
        self.process = subprocess.Popen(
            prefix + [program, "--port", "0"], stdout=subprocess.PIPE, text=True
        )
        said = self.process.stdout.readline()
        found = re.match(r"serving on port (\d+)$", said)
        if not found:
            self.stop()
            raise RuntimeError(f"{name} does not serve: {said!r}")
        self.port = int(found.group(1))
        self.pid = self.process.pid

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Beside:
    """A server that runs already; its threads come to the core and go back at the end."""

    realtime = False  # all of them, while they are measured

    def __init__(self, name, port, pid, path, token=None):
        self.name, self.port, self.pid, self.path = name, int(port), int(pid), path
        self.headers = ("--header", "authorization", "Bearer " + token) if token else ()
        self.move(str(cores()[0]), ["-r", "1"] if self.realtime else ["-o", "0"])

    def move(self, to, policy):
        for command in (["taskset", "-a", "-p", "-c", to], ["chrt", "-a", "-p", *policy]):
            subprocess.run([*command, str(self.pid)], check=True, stdout=subprocess.DEVNULL)

    def stop(self):
        self.move(",".join(map(str, sorted(os.sched_getaffinity(0)))), ["-o", "0"])


def measure(options, server, in_flight):
    command = on_core(cores()[1], options.realtime) + [options.load]
    command += ["--port", str(server.port), "--path", server.path, "--pid", str(server.pid)]
    command += ["--in_flight", str(in_flight), "--connections", str(min(options.connections, in_flight))]
    command += ["--seconds", str(options.seconds), "--warmup", "0.3", *server.headers]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=options.seconds + 60)
    if done.returncode != 0:
        raise RuntimeError(f"no figures of {server.name} at {in_flight} in flight")
    return json.loads(done.stdout)


def measure_row(options, servers, in_flight):
    rounds = {server.name: [] for server in servers}
    for i in range(options.rounds):
        for server in servers if i % 2 == 0 else reversed(servers):
            rounds[server.name].append(measure(options, server, in_flight))
    return rounds


def summarize(rounds, first, second):
    """Medians of the rounds, and the ratio of two servers."""
    row = {
        name: {figure: statistics.median(one[figure] for one in all_of) for figure in FIGURES}
        for name, all_of in rounds.items()
    }
    ratios = [a["per_s"] / b["per_s"] for a, b in zip(rounds[first], rounds[second])]
    return row, statistics.median(ratios)


def show(options, row, in_flight, ratio):
    title = f"compare_unary_{in_flight}"
    if options.json:
        print(json.dumps({"name": title, "ratio": round(ratio, 3), "servers": row}), flush=True)
        return
    for i, (name, figures) in enumerate(row.items()):
        print(
            f"{title if i == 0 else '':<20} {name:<16} {figures['per_s']:>9.0f} {figures['p50_us']:>8.0f}"
            f" {figures['p99_us']:>8.0f} {figures['cpu_server_us_per_op']:>8.2f}"
            + (f"   ratio {ratio:.2f}" if i == 0 else ""),
            flush=True,
        )


def arguments(argv):
    parser = argparse.ArgumentParser(prog="./dev bench grpcpp|gate")
    parser.add_argument("--load", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--beside", nargs="+", action="append", default=[], help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1, help="of one measurement")
    parser.add_argument("--in_flight", default="1,4,16,64,256", help="calls, one row each")
    parser.add_argument("--connections", type=int, default=1, help="that the calls are spread over")
    parser.add_argument("--realtime", action="store_true", help="everything at real-time priority")
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("servers", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if len(options.servers) + len(options.beside) < 2 or options.rounds < 1 or options.seconds <= 0:
        parser.error("two servers, a round and some time are the least")
    return options


def main(argv):
    options = arguments(argv)
    servers = []
    try:
        for spec in options.servers:
            name, program = spec.split("=", 1)
            servers.append(Server(name, program, on_core(cores()[0], options.realtime)))
        Beside.realtime = options.realtime
        for beside in options.beside:
            servers.append(Beside(*beside))
        if not options.json:
            print(f"{'':<20} {'':<16} {'per s':>9} {'p50 us':>8} {'p99 us':>8} {'CPU us':>8}")
        for in_flight in map(int, options.in_flight.split(",")):
            rounds = measure_row(options, servers, in_flight)
            row, ratio = summarize(rounds, servers[0].name, servers[1].name)
            show(options, row, in_flight, ratio)
    except RuntimeError as problem:
        print(f"compare: {problem}", file=sys.stderr)
        return 1
    finally:
        for server in servers:
            server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
