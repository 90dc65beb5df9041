#!/usr/bin/env python3
"""Measures Gwanmun beside nginx, HAProxy, Envoy and a minimal pingora-proxy, in one run.

Every candidate runs during the whole run, in front of the same backend and with the same certificate; each adds the
same forwarding headers. Rounds visit the candidates in shuffled order. What counts is CPU per request of the
candidate's own threads (`/proc/PID/task/*/schedstat`), because wall time on a shared machine says little.

`make bench` calls it; `run.py --help` names the options. Results: a table on standard output, `results/latest.md` and
`results/latest.json`.
"""

import argparse
import base64
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import statistics
import string
import subprocess
import sys
import tempfile
import time

import idle

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = ("nginx", "haproxy", "envoy", "pingora-proxy")


class Row:
    """One line of the table: a load, and the ratios it must reach."""

    def __init__(self, name, targets, logged=False):
        self.name, self.targets, self.logged = name, targets, logged


# Targets: ratio of Gwanmun's CPU per request to the named peers' best, from the project's goals.
ROWS = [
    Row("h1", {"nginx|haproxy": 0.80, "envoy": 0.50}),
    Row("h1-tls", {"nginx|haproxy": 0.75, "envoy": 0.50}),
    Row("h2-tls", {"nginx|haproxy": 0.85, "envoy": 0.50}),
    Row("grpc", {"nginx|haproxy": 0.85, "envoy": 0.50}),
    Row("1m-tls", {"nginx|haproxy": 0.75, "envoy": 0.50}),
    Row("handshake", {"envoy": 0.85}),
    Row("h1-logged", {"nginx": 0.85, "envoy": 0.50}, logged=True),
]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, deadline=15):
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on {port}")


def family(pid):
    """The process and all its descendants."""
    pids, todo = [], [pid]
    while todo:
        pid = todo.pop()
        pids.append(pid)
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                todo += [int(child) for child in task.read_text().split()]
            except OSError:
                pass
    return pids


def cpu_ns(pid):
    """CPU time of all threads of the process family, in nanoseconds."""
    total = 0
    for member in family(pid):
        for stat in pathlib.Path(f"/proc/{member}/task").glob("*/schedstat"):
            try:
                total += int(stat.read_text().split()[0])
            except OSError:
                pass
    return total


def rss_kib(pid):
    """Resident private and shared memory of the process family, in KiB, shared pages counted once per process."""
    total = 0
    for member in family(pid):
        try:
            text = pathlib.Path(f"/proc/{member}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))
        except (OSError, AttributeError):
            pass
    return total


class Candidate:
    """A running proxy."""

    def __init__(self, name, logged, world):
        self.name, self.logged = name, logged
        self.ports = {kind: free_port() for kind in ("http", "https", "grpc")}
        self.dir = world.dir / f"{name}{'-logged' if logged else ''}"
        self.dir.mkdir()
        self.values = {**world.values, **self.ports, "dir": self.dir}
        self.process = None

    def start(self):
        command = getattr(self, "command_" + self.name.replace("-", "_"))()
        log = open(self.dir / "stdout", "wb")
        self.process = subprocess.Popen(command, stdout=log, stderr=open(self.dir / "stderr", "wb"), start_new_session=True)
        for port in self.ports.values():
            wait_port(port)

    def fill(self, template, target, **more):
        text = string.Template((HERE / "peers" / template).read_text()).substitute({**self.values, **more})
        (self.dir / target).write_text(text)
        return str(self.dir / target)

    def command_nginx(self):
        log = f"{self.dir}/access.log istio buffer=64k flush=1s" if self.logged else "off"
        return ["nginx", "-e", f"{self.dir}/nginx.err", "-c", self.fill("nginx.conf", "nginx.conf", access_log=log)]

    def command_haproxy(self):
        return ["haproxy", "-f", self.fill("haproxy.cfg", "haproxy.cfg")]

    def command_envoy(self):
        log = '[{name: f, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: %s}}]'
        log = log % (self.dir / "access.log") if self.logged else "[]"
        config = self.fill("envoy.yaml", "envoy.yaml", access_log=log)
        base = str(random.randrange(1, 30000))
        return [self.values["envoy"], "-c", config, "--concurrency", "2", "--base-id", base, "-l", "error"]

    def command_pingora_proxy(self):
        v = self.values
        return [str(x) for x in (v["pingora"], v["http"], v["https"], v["grpc"], v["back_h1"], v["back_h2c"], v["cert"], v["key"])]

    def command_gwanmun(self):
        config = self.fill("gwanmun.yaml", "gwanmun.yaml")
        extra = [x for name in ("admin", "metrics", "health") for x in (f"--{name}", f"127.0.0.1:{free_port()}")]
        log = "text" if self.logged else "off"
        return [self.values["gwanmun"], "run", "--config", config, "--bind", "127.0.0.1", "--concurrency", "2",
                "--access-log", log, "--log", "error", *extra]

    def stop(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class World:
    """The backend, the certificate and the paths everybody shares."""

    def __init__(self, arguments):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="gwanmun-bench-"))
        cert, key = self.dir / "cert.pem", self.dir / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", cert, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                        "-days", "30"], check=True, capture_output=True)
        (self.dir / "both.pem").write_bytes(cert.read_bytes() + key.read_bytes())
        (self.dir / "1m.bin").write_bytes(os.urandom(1 << 20))
        (self.dir / "body64").write_bytes(b"x" * 64)
        self.dir.chmod(0o755)
        for file in self.dir.iterdir():
            file.chmod(0o644)
        encode = lambda path: base64.b64encode(path.read_bytes()).decode()
        self.values = {"cert": cert, "key": key, "pem": self.dir / "both.pem", "cert_b64": encode(cert), "key_b64": encode(key),
                       "back_h1": free_port(), "back_h2c": free_port(), "gwanmun": arguments.gwanmun,
                       "pingora": arguments.pingora, "envoy": arguments.envoy}
        config = string.Template((HERE / "peers/backend.conf").read_text()).substitute({**self.values, "dir": self.dir})
        (self.dir / "backend.conf").write_text(config)
        self.backend = subprocess.Popen(["nginx", "-e", f"{self.dir}/backend.err", "-c", self.dir / "backend.conf"], start_new_session=True)
        wait_port(self.values["back_h1"])
        wait_port(self.values["back_h2c"])

    def stop(self):
        os.killpg(self.backend.pid, signal.SIGKILL)
        self.backend.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def wrk(url, connections, seconds):
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}", url], capture_output=True, text=True).stdout
    errors = sum(int(n) for n in re.findall(r"(?:Non-2xx or 3xx responses: |connect |read |write |timeout )(\d+)", out))
    return int(re.search(r"(\d+) requests in", out).group(1)), errors


def h2load(url, seconds, *more):
    out = subprocess.run(["h2load", "-t1", "-c16", "-m10", "-D", str(seconds), *more, url], capture_output=True, text=True).stdout
    counts = re.search(r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored", out)
    return int(counts.group(1)), int(counts.group(2)) + int(counts.group(3))


def handshakes(port, seconds):
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-tls1_3", "-time", str(seconds)]
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(3)]
    outs = [client.communicate()[0] for client in clients]
    return sum(int(re.search(r"(\d+) connections in \d+ real", out).group(1)) for out in outs), 0


def load(row, candidate, seconds, world):
    http, https, grpc = (candidate.ports[k] for k in ("http", "https", "grpc"))
    match row.name:
        case "h1" | "h1-logged":
            return wrk(f"http://127.0.0.1:{http}/", 64, seconds)
        case "h1-tls":
            return wrk(f"https://localhost:{https}/", 64, seconds)
        case "h2-tls":
            return h2load(f"https://localhost:{https}/", seconds)
        case "grpc":
            return h2load(f"http://127.0.0.1:{grpc}/echo.Echo/Say", seconds, "-d", str(world.dir / "body64"),
                          "-H", "content-type: application/grpc", "-H", "te: trailers")
        case "1m-tls":
            return wrk(f"https://localhost:{https}/1m", 16, seconds)
        case "handshake":
            return handshakes(https, seconds)
    raise ValueError(row.name)


def measure(rows, candidates, arguments, world, results, errors):
    """CPU in µs per request: results[row][candidate] = list, one entry a round. Round 0 warms up and is discarded."""
    for row in rows:
        field = [c for c in candidates if c.logged == row.logged]
        results[row.name] = {c.name: [] for c in field}
        for number in range(arguments.rounds + 1):
            random.shuffle(field)
            for candidate in field:
                before = cpu_ns(candidate.process.pid)
                requests, failed = load(row, candidate, arguments.seconds if number else 1, world)
                used = cpu_ns(candidate.process.pid) - before
                if number and requests:
                    results[row.name][candidate.name].append(used / requests / 1000)
                errors[row.name, candidate.name] = errors.get((row.name, candidate.name), 0) + failed
        print(f"measured {row.name}", file=sys.stderr)


def memory(candidates, arguments, results):
    """KiB: results[kind][candidate]; `empty` is the whole process family before any connection."""
    results.update({"empty": {}, "idle h1": {}, "idle h1-tls": {}, "idle h2-tls": {}})
    for candidate in candidates:
        results["empty"][candidate.name] = rss_kib(candidate.process.pid)
    for kind in ("h1", "h1-tls", "h2-tls"):
        for candidate in candidates:
            port = candidate.ports["http" if kind == "h1" else "https"]
            idle.exercise(kind, port, 64)  # buffers and caches that the first connections bring are not theirs
            before = rss_kib(candidate.process.pid)
            with idle.connections(kind, port, arguments.idle) as count:
                time.sleep(1.5)
                results[f"idle {kind}"][candidate.name] = (rss_kib(candidate.process.pid) - before) / count


def table(rows, results, errors, kib, peers):
    """The report as Markdown lines."""
    names = ["gwanmun", *peers]
    lines = ["| µs CPU per request, median | " + " | ".join(names) + " | ratio to best of | target | |",
             "|---|" + "---|" * (len(names) + 3)]
    for row in rows:
        medians = {n: statistics.median(v) for n, v in results[row.name].items() if v}
        cells = [f"{medians[n]:.1f}{' (errors: %d)' % errors[row.name, n] if errors.get((row.name, n)) else ''}" if n in medians else "–" for n in names]
        ratios, verdicts = [], []
        for group, target in row.targets.items():
            field = [medians[n] for n in group.split("|") if n in medians]
            if field and "gwanmun" in medians:
                ratio = medians["gwanmun"] / min(field)
                ratios.append(f"{ratio:.2f} {group.replace('|', '/')}")
                verdicts.append("reached" if ratio <= target else "missed")
        lines.append(f"| {row.name} | " + " | ".join(cells) + " | " + ", ".join(ratios) + " | "
                     + ", ".join(f"{t:.2f}" for t in row.targets.values()) + " | " + ", ".join(verdicts) + " |")
    if kib:
        goals = {"empty": 20 * 1024, "idle h1": 4, "idle h1-tls": 16, "idle h2-tls": 45}
        lines += ["", "| memory, KiB | " + " | ".join(names) + " | goal | |", "|---|" + "---|" * (len(names) + 2)]
        for kind, values in kib.items():
            cells = [f"{values[n]:.1f}" if n in values else "–" for n in names]
            verdict = "reached" if values.get("gwanmun", 1e9) <= goals[kind] else "missed"
            label = kind if kind == "empty" else f"{kind}, per connection"
            lines.append(f"| {label} | " + " | ".join(cells) + f" | {goals[kind]} | {verdict} |")
    return lines


def options(parser):
    parser.add_argument("--gwanmun", default=str(ROOT / "target/release/gwanmun"))
    parser.add_argument("--pingora", default=str(HERE / "pingora-proxy/target/release/bench-pingora-proxy"))
    parser.add_argument("--envoy", default=str(HERE / ".venv/bin/envoy"))
    parser.add_argument("--rows", default=",".join(r.name for r in ROWS), help="comma-separated")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=3000, help="idle connections per kind; 0 skips memory")


def main():
    # It uses this module as well.
    import l4
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options(parser)
    l4.options(parser)
    arguments = parser.parse_args()
    rows = [r for r in ROWS if r.name in arguments.rows.split(",")]
    peers = [p for p in arguments.peers.split(",") if p]
    world = World(arguments)
    candidates = [Candidate(name, False, world) for name in ("gwanmun", *peers)]
    if any(r.logged for r in rows):
        candidates += [Candidate(name, True, world) for name in ("gwanmun", *peers) if name in ("gwanmun", "nginx", "envoy")]
    results, errors, kib = {}, {}, {}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for candidate in candidates:
            candidate.start()
        if arguments.idle:
            memory([c for c in candidates if not c.logged], arguments, kib)
        measure(rows, candidates, arguments, world, results, errors)
    except KeyboardInterrupt:
        print("interrupted: the table has what was measured so far", file=sys.stderr)
        rows = [row for row in rows if any(results.get(row.name, {}).values())]
    finally:
        for candidate in candidates:
            candidate.stop()
        world.stop()
    lines = table(rows, results, errors, kib, peers)
    print("\n".join(lines))
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results/latest.md").write_text("\n".join(lines) + "\n")
    (HERE / "results/latest.json").write_text(json.dumps({"cpu_us": results, "memory_kib": kib}, indent=1) + "\n")
    if arguments.l4_rows or arguments.certificates:
        l4.main(arguments)


if __name__ == "__main__":
    main()
