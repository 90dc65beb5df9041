#!/usr/bin/env python3
"""The rows of bytes: TCP, passthrough, datagrams, handshakes with client certificates, many certificates.

As in `run.py`: all candidates run during the whole run, rounds visit them in shuffled order, the first is thrown away, and
what counts is CPU time of the candidate per GiB, connection or datagram. `run.py` calls it; alone it runs these rows only.
"""

import argparse
import base64
import json
import pathlib
import random
import statistics
import subprocess
import sys
import time

import certificates
import l4load
import run

HERE = pathlib.Path(__file__).resolve().parent
PEERS = ("nginx", "haproxy", "haproxy-splice", "envoy")
# Name, unit, divisor of nanoseconds, goal as a ratio to the best peer (the variant with splice is for information).
ROWS = {
    "tcp": ("ms per GiB", 1e6, 1.0),
    "passthrough": ("ms per GiB", 1e6, 1.0),
    "tcp-connections": ("µs per connection", 1e3, None),
    "passthrough-connections": ("µs per connection", 1e3, None),
    "udp": ("µs per datagram and its answer", 1e3, None),
    "mutual-full": ("µs per connection", 1e3, None),
    "mutual-resumed": ("µs per connection", 1e3, None),
}
IDLE_GOAL_KIB = 8


class Candidate(run.Candidate):
    """A proxy of bytes."""

    def __init__(self, name, world):
        super().__init__(f"l4-{name}", False, world)
        self.name = name
        self.ports = {kind: run.free_port() for kind in ("tcp", "sni", "mutual")}
        self.values = {**world.values, **self.ports, "dir": self.dir, "udp": run.free_port(), "udp_manifest": "", "splice": ""}

    def command_nginx(self):
        return ["nginx", "-e", f"{self.dir}/nginx.err", "-c", self.fill("l4-nginx.conf", "nginx.conf")]

    def command_haproxy(self):
        return ["haproxy", "-f", self.fill("l4-haproxy.cfg", "haproxy.cfg")]

    def command_haproxy_splice(self):
        return ["haproxy", "-f", self.fill("l4-haproxy.cfg", "haproxy.cfg", splice="option splice-auto")]

    def command_envoy(self):
        base = str(random.randrange(1, 30000))
        return [self.values["envoy"], "-c", self.fill("l4-envoy.yaml", "envoy.yaml"), "--concurrency", "2", "--base-id", base, "-l", "error"]

    def command_gwanmun(self):
        udp = pathlib.Path(self.fill("l4-gwanmun-udp.yaml", "udp.part")).read_text() if self.values["with_udp"] else ""
        config = self.fill("l4-gwanmun.yaml", "gwanmun.yaml", udp_manifest=udp)
        extra = [x for name in ("admin", "metrics", "health") for x in (f"--{name}", "127.0.0.1:0")]
        return [self.values["gwanmun"], "run", "--config", config, "--namespace", "default", "--bind", "127.0.0.1",
                "--concurrency", "2", "--access-log", "off", "--log", "error", *extra]


def load(row, candidate, seconds, world):
    ports, hello = candidate.ports, world.hello
    identity = (world.values["client_cert"], world.values["client_key"])
    match row:
        case "tcp":
            return l4load.throughput(ports["tcp"], seconds, b"")
        case "passthrough":
            return l4load.throughput(ports["sni"], seconds, hello)
        case "tcp-connections":
            return l4load.connects(ports["tcp"], seconds, b"")
        case "passthrough-connections":
            return l4load.connects(ports["sni"], seconds, hello)
        case "udp":
            return l4load.datagrams(candidate.values["udp"], seconds)
        case "mutual-full" | "mutual-resumed":
            return l4load.handshakes(ports["mutual"], seconds, identity, row == "mutual-resumed")
    raise ValueError(row)


def takes_part(row, candidate):
    if row == "udp":
        return not candidate.name.startswith("haproxy") and (candidate.name != "gwanmun" or candidate.values["with_udp"])
    return candidate.name != "haproxy-splice" or row in ("tcp", "passthrough")


def measure(rows, candidates, arguments, world, report):
    for row in rows:
        field = [c for c in candidates if takes_part(row, c)]
        used, speeds, failed = ({c.name: [] for c in field} for _ in range(3))
        for number in range(arguments.rounds + 1):
            random.shuffle(field)
            for candidate in field:
                before, began = run.cpu_ns(candidate.process.pid), time.monotonic()
                units, errors = load(row, candidate, arguments.seconds if number else 1, world)
                took = time.monotonic() - began
                cpu = run.cpu_ns(candidate.process.pid) - before
                failed[candidate.name].append(errors)
                if number and units:
                    used[candidate.name].append(cpu / units / ROWS[row][1])
                    speeds[candidate.name].append(units / took)
        report[row] = {"cpu": used, "per_second": speeds, "failed": {n: sum(e) for n, e in failed.items()}}
        print(f"measured {row}", file=sys.stderr)


def idle(candidates, count, world):
    """KiB of each passthrough connection that waits."""
    kib = {}
    for candidate in candidates:
        port = candidate.ports["sni"]
        with l4load.idle(port, 64, world.hello):
            pass
        before = run.rss_kib(candidate.process.pid)
        with l4load.idle(port, count, world.hello):
            time.sleep(1.5)
            kib[candidate.name] = (run.rss_kib(candidate.process.pid) - before) / count
    return kib


def table(report, kib, names):
    lines = ["| CPU, median of the rounds | unit | " + " | ".join(names) + " | ratio to best | goal | |", "|---|---|" + "---|" * (len(names) + 3)]
    for row, measured in report.items():
        unit, _, goal = ROWS[row]
        medians = {n: statistics.median(v) for n, v in measured["cpu"].items() if v}
        wrong = {n: f" (failed: {measured['failed'][n]})" for n in medians if measured["failed"][n]}
        cells = [f"{medians[n]:.1f}{wrong.get(n, '')}" if n in medians else "–" for n in names]
        best = min((v for n, v in medians.items() if n not in ("gwanmun", "haproxy-splice")), default=None)
        ratio = medians["gwanmun"] / best if best and "gwanmun" in medians else None
        verdict = "" if None in (goal, ratio) else "reached" if ratio <= goal else "missed"
        lines.append(f"| {row} | {unit} | " + " | ".join(cells) + f" | {f'{ratio:.2f}' if ratio else '–'} | {goal or ''} | {verdict} |")
    if kib:
        cells = [f"{kib[n]:.1f}" if n in kib else "–" for n in names]
        verdict = "reached" if kib["gwanmun"] <= IDLE_GOAL_KIB else "missed"
        lines.append("| idle passthrough | KiB per connection | " + " | ".join(cells) + f" |  | {IDLE_GOAL_KIB} | {verdict} |")
    return lines


def clients(world):
    """An authority, and a client certificate of it."""
    place = lambda name: world.dir / name
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl = lambda *more: subprocess.run(["openssl", *more], check=True, capture_output=True)
    openssl("req", "-x509", *curve, "-keyout", place("ca.key"), "-out", place("ca.pem"), "-subj", "/CN=clients", "-days", "30")
    openssl("req", *curve, "-keyout", place("client.key"), "-out", place("client.csr"), "-subj", "/CN=client")
    place("client.ext").write_text("basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n")
    openssl("x509", "-req", "-in", place("client.csr"), "-CA", place("ca.pem"), "-CAkey", place("ca.key"), "-CAcreateserial",
            "-days", "30", "-extfile", place("client.ext"), "-out", place("client.pem"))
    world.values |= {"ca": place("ca.pem"), "ca_b64": base64.b64encode(place("ca.pem").read_bytes()).decode(),
                     "client_cert": place("client.pem"), "client_key": place("client.key")}


def main(arguments):
    world = run.World(arguments)
    clients(world)
    world.hello = l4load.hello()
    world.values |= {"back": run.free_port(), "back_udp": run.free_port(), "with_udp": "udp" in arguments.l4_rows}
    command = [sys.executable, HERE / "l4load.py", str(world.values["back"]), str(world.values["back_udp"])]
    backend = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    names = ["gwanmun", *(p for p in PEERS if p.split("-")[0] in arguments.peers.split(","))]
    candidates = [Candidate(name, world) for name in names]
    report, kib = {}, {}
    try:
        run.wait_port(world.values["back"])
        for candidate in candidates:
            candidate.start()
        if arguments.idle:
            kib = idle([c for c in candidates if c.name != "haproxy-splice"], arguments.idle, world)
        measure([row for row in ROWS if row in arguments.l4_rows.split(",")], candidates, arguments, world, report)
    finally:
        for candidate in candidates:
            candidate.stop()
        backend.kill()
        world.stop()
    lines = table(report, kib, names)
    if arguments.certificates:
        lines += ["", certificates.measure(arguments.gwanmun, arguments.certificates)]
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results/latest-l4.md").write_text("\n".join(lines) + "\n")
    (HERE / "results/latest-l4.json").write_text(json.dumps({"rows": report, "idle_kib": kib}, indent=1) + "\n")
    print("\n".join(lines))


def options(parser):
    parser.add_argument("--l4-rows", default=",".join(ROWS), help="comma-separated rows of bytes")
    parser.add_argument("--certificates", type=int, default=10_000, help="certificates on one port; 0 skips them")


if __name__ == "__main__":
    options_parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    run.options(options_parser)
    options(options_parser)
    main(options_parser.parse_args())
