#!/usr/bin/env python3
"""Rotates certificates under load against the real binary and fails when any handshake does.

Two hosts on one port: one has its certificate in a Secret manifest, the other in two files (certificate first, then key,
so that there is always a moment at which they do not match). Rotations alternate between them. Meanwhile clients connect
at a steady rate. What must hold: no handshake fails, a handshake that begins a second after a rotation is given the new
certificate (or a newer one), and connections opened before still answer at the end.

`make bench-rotation` calls it; `rotation.py --help` names the options.
"""

import argparse
import base64
import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECRET, FILES = "secret.example.com", "files.example.com"
HELD_EVERY = 25

GATEWAY = """\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: rotation}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: %(port)d, name: a, protocol: HTTPS}
    hosts: [secret.example.com]
    tls: {mode: SIMPLE, credentialName: rotated}
  - port: {number: %(port)d, name: b, protocol: HTTPS}
    hosts: [files.example.com]
    tls: {mode: SIMPLE, serverCertificate: %(cert)s, privateKey: %(key)s}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: answer}
spec:
  hosts: ['*']
  gateways: [rotation]
  http: [{directResponse: {status: 200, body: {string: alive}}}]
"""
MANIFEST = """\
apiVersion: v1
kind: Secret
metadata: {name: rotated}
type: kubernetes.io/tls
data: {tls.crt: %s, tls.key: %s}
"""


def issue(number):
    """A certificate for both hosts and its key, in PEM."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "-",
               "-subj", f"/CN=rotation {number}", "-addext", f"subjectAltName=DNS:{SECRET},DNS:{FILES}", "-days", "90"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    blocks = re.findall(r"-----BEGIN [^-]+-----.*?-----END [^-]+-----\n", text, re.S)
    key, certificate = (next(b for b in blocks if word in b) for word in ("PRIVATE KEY", "CERTIFICATE"))
    return certificate, key


def replace(path, text):
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.rename(path)


class World:
    """The gateway and what its two hosts should show."""

    def __init__(self, arguments, directory):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.config, self.cert, self.key = directory / "config", directory / "tls.crt", directory / "tls.key"
        self.config.mkdir()
        self.numbers, self.put, self.lock = {}, {SECRET: [], FILES: []}, threading.Lock()
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.context.options |= ssl.OP_NO_TICKET
        self.serve(SECRET, *issue("first"))
        self.serve(FILES, *issue("first"))
        (self.config / "gateway.yaml").write_text(GATEWAY % {"port": self.port, "cert": self.cert, "key": self.key})
        sides = [x for name in ("admin", "metrics", "health") for x in (f"--{name}", "127.0.0.1:0")]
        command = [arguments.gwanmun, "run", "--config", self.config, "--namespace", "default", "--bind", "127.0.0.1", "--access-log", "off", "--log", "error", *sides]
        self.process = subprocess.Popen([str(x) for x in command], start_new_session=True)
        until = time.monotonic() + 20
        while True:
            try:
                return self.connect(SECRET).close()
            except OSError:
                if time.monotonic() > until:
                    self.stop()
                    raise
                time.sleep(0.05)

    def serve(self, host, certificate, key):
        """Puts a certificate in its place; returns when that was done, and its number for this host."""
        with self.lock:
            der = ssl.PEM_cert_to_DER_cert(certificate)
            self.numbers[der] = number = len(self.put[host])
            # Before it is there: who sees it early is right.
            self.put[host].append(float("inf"))
        if host == SECRET:
            replace(self.config / "secret.yaml", MANIFEST % tuple(base64.b64encode(x.encode()).decode() for x in (certificate, key)))
        else:
            replace(self.cert, certificate)
            replace(self.key, key)
        self.put[host][number] = time.monotonic()
        return self.put[host][number], number

    def connect(self, host):
        """A finished handshake."""
        tcp = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        try:
            return self.context.wrap_socket(tcp, server_hostname=host)
        except BaseException:
            tcp.close()
            raise

    def stop(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def shown(self, connection):
        return self.numbers[connection.getpeercert(binary_form=True)]


class Load:
    """Clients that connect at a steady rate and judge what they are shown."""

    def __init__(self, world, rate, count=8):
        self.world, self.stop, self.failures, self.late, self.done = world, threading.Event(), [], 0, 0
        self.lock = threading.Lock()
        self.pace = count / rate
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(count)]
        self.began = time.monotonic()
        for thread in self.threads:
            thread.start()

    def run(self, number):
        due = time.monotonic()
        while not self.stop.is_set():
            host = (SECRET, FILES)[number % 2]
            number += 1
            began = time.monotonic()
            try:
                with self.world.connect(host) as connection:
                    shown = self.world.shown(connection)
                must = sum(1 for when in self.world.put[host] if when <= began - 1) - 1
                failure, late = None, shown < must
            except (OSError, KeyError) as error:
                failure, late = repr(error), False
            with self.lock:
                self.done += 1
                self.late += late
                if failure:
                    self.failures.append(failure)
            due = max(due + self.pace, time.monotonic() - 1)
            time.sleep(max(0, due - time.monotonic()))

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        return self.done / (time.monotonic() - self.began)


def rotate(world, certificates):
    """Replaces one after the other; how long each took to be served, and the connections opened on the way."""
    held, times = [], []
    for number, pair in enumerate(certificates):
        host = (SECRET, FILES)[number % 2]
        if number % HELD_EVERY == 0:
            held.append((host, world.connect(host)))
        began, new = world.serve(host, *pair)
        while True:
            with world.connect(host) as connection:
                if world.shown(connection) >= new:
                    break
            if time.monotonic() - began > 10:
                raise SystemExit(f"rotation {number} of {host} is not served after 10 s")
            time.sleep(0.002)
        times.append(time.monotonic() - began)
    return held, times


def alive(host, connection):
    connection.sendall(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
    return connection.recv(4096).startswith(b"HTTP/1.1 200")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gwanmun", default=str(ROOT / "target/release/gwanmun"))
    parser.add_argument("--rotations", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=200, help="handshakes a second")
    arguments = parser.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="gwanmun-rotation-"))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        certificates = list(pool.map(issue, range(arguments.rotations)))
    world = World(arguments, directory)
    try:
        load = Load(world, arguments.rate)
        try:
            held, times = rotate(world, certificates)
        finally:
            rate = load.end()
        lost = sum(not alive(*one) for one in held)
    finally:
        world.stop()
        shutil.rmtree(directory, ignore_errors=True)
    times = sorted(1000 * t for t in times)
    print(f"{len(times)} rotations, {load.done} handshakes ({rate:.0f} a second): {len(load.failures)} failed, "
          f"{load.late} were shown a certificate replaced more than 1 s before; "
          f"{lost} of {len(held)} open connections lost")
    print(f"new certificate served after: median {statistics.median(times):.0f} ms, "
          f"99 % {times[int(len(times) * 0.99)]:.0f} ms, longest {times[-1]:.0f} ms")
    print(*sorted(set(load.failures))[:5], sep="\n", end="")
    sys.exit(bool(load.failures or load.late or lost or times[-1] > 1000))


if __name__ == "__main__":
    main()
