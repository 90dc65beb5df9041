"""Many certificates on one port: what each takes, and how soon a change of one is served."""

import base64
import os
import pathlib
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import tempfile
import time

import run

FEW, GOAL_KIB, GOAL_MS, CHANGES = 100, 12, 50, 30
GATEWAY = """\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g%d}
spec:
  selector: {istio: ingressgateway}
  servers:
"""
SERVER = "  - {port: {number: %d, name: h%05d, protocol: HTTPS}, hosts: [h%05d.example.com], tls: {mode: SIMPLE, credentialName: h%05d}}\n"
ROUTE = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v%d}
spec:
  hosts: ['*']
  gateways: [g%d]
  http: [{directResponse: {status: 200}}]
"""


class Template:
    """A certificate whose host is written over: each is another one, with the same key. The signature is the template's;
    a server does not verify its own."""

    def __init__(self):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/stderr",
                   "-subj", "/CN=h00000.example.com", "-addext", "subjectAltName=DNS:h00000.example.com", "-days", "90"]
        made = subprocess.run(command, check=True, capture_output=True, text=True)
        self.key = made.stderr[made.stderr.index("-----BEGIN"):]
        self.der = ssl.PEM_cert_to_DER_cert(made.stdout)

    def of(self, number, version=0):
        der = self.der.replace(b"h00000.", b"h%05d." % number)
        # The last byte of the signature tells versions apart.
        return der[:-1] + bytes([version % 256])

    def manifest(self, number, version=0):
        encode = lambda text: base64.b64encode(text.encode()).decode()
        certificate = ssl.DER_cert_to_PEM_cert(self.of(number, version))
        return (f"apiVersion: v1\nkind: Secret\nmetadata: {{name: h{number:05}}}\n"
                f"data: {{tls.crt: {encode(certificate)}, tls.key: {encode(self.key)}}}\n")


class Running:
    """A gateway with `count` hosts on a port, each Secret in a file of its own."""

    def __init__(self, gwanmun, count, template):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="gwanmun-certificates-"))
        self.port = run.free_port()
        for first in range(0, count, 100):
            servers = "".join(SERVER % ((self.port,) + (n,) * 3) for n in range(first, min(first + 100, count)))
            index = first // 100
            (self.directory / f"g{index}.yaml").write_text(GATEWAY % index + servers + "---\n" + ROUTE % (index, index))
            folder = self.directory / f"secrets{index}"
            folder.mkdir()
            for number in range(first, min(first + 100, count)):
                (folder / f"h{number:05}.yaml").write_text(template.manifest(number))
        sides = [x for name in ("admin", "metrics", "health") for x in (f"--{name}", "127.0.0.1:0")]
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        command = [gwanmun, "run", "--config", self.directory, "--namespace", "default", "--bind", "127.0.0.1",
                   "--access-log", "off", "--log", "error", *sides]
        self.process = subprocess.Popen([str(x) for x in command], start_new_session=True)
        run.wait_port(self.port, 300)

    def shown(self, number):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as tcp:
            with self.context.wrap_socket(tcp, server_hostname=f"h{number:05}.example.com") as tls:
                return tls.getpeercert(binary_form=True)

    def change(self, number, version, template):
        """Seconds until a new certificate of this host is served."""
        place = self.directory / f"secrets{number // 100}" / f"h{number:05}.yaml"
        fresh = place.with_name(f".{place.name}.new")
        fresh.write_text(template.manifest(number, version))
        began = time.monotonic()
        fresh.rename(place)
        while self.shown(number) != template.of(number, version):
            if time.monotonic() - began > 30:
                raise SystemExit(f"the change of host {number} is not served")
        return time.monotonic() - began

    def stop(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def measure(gwanmun, count):
    """One paragraph: memory of each certificate, time until a change of one is served, CPU of handshakes."""
    template, sizes, cpu, times = Template(), [], [], []
    for amount in (FEW, count):
        running = Running(gwanmun, amount, template)
        try:
            for number in range(0, amount, max(1, amount // 200)):
                if running.shown(number) != template.of(number):
                    raise SystemExit(f"host {number} shows another's certificate")
            time.sleep(3)
            sizes.append(run.rss_kib(running.process.pid))
            before = run.cpu_ns(running.process.pid)
            for number in range(500):
                running.shown(number * 37 % amount)
            cpu.append((run.cpu_ns(running.process.pid) - before) / 500 / 1000)
            if amount == count:
                times = [1000 * running.change(number * 331 % amount, number + 1, template) for number in range(CHANGES)]
        finally:
            running.stop()
    each = (sizes[1] - sizes[0]) / (count - FEW)
    return (f"{count} certificates on one port: {each:.1f} KiB each (goal {GOAL_KIB}); a change of one served after "
            f"{statistics.median(times):.0f} ms, longest of {CHANGES} {max(times):.0f} ms (goal {GOAL_MS}); "
            f"a handshake takes {cpu[1]:.0f} µs of CPU, with {FEW} certificates {cpu[0]:.0f} µs.")
