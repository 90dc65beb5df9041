"""Idle client connections: each sends one request, reads the answer and then stays open."""

import contextlib
import resource
import socket
import ssl

H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
# HEADERS, END_STREAM | END_HEADERS, stream 1: :method GET, :scheme https, :path /, :authority localhost.
H2_FIELDS = bytes.fromhex("828784") + b"\x41\x09localhost"
H2_REQUEST = len(H2_FIELDS).to_bytes(3, "big") + bytes.fromhex("010500000001") + H2_FIELDS
H1_REQUEST = b"GET / HTTP/1.1\r\nhost: localhost\r\nuser-agent: idle\r\n\r\n"


def context(kind):
    if kind == "h1":
        return None
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols(["h2" if kind == "h2-tls" else "http/1.1"])
    return made


def open_one(kind, port, tls):
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    if tls:
        connection = tls.wrap_socket(connection, server_hostname="localhost")
    if kind == "h2-tls":
        connection.sendall(H2_PREFACE + H2_REQUEST)
        until_end_of_stream(connection)
    else:
        connection.sendall(H1_REQUEST)
        answer = b""
        while b"ok\n" not in answer:
            piece = connection.recv(4096)
            if not piece:
                raise SystemExit(f"the connection was closed: {answer!r}")
            answer += piece
    return connection


def until_end_of_stream(connection):
    """Reads frames until stream 1 ends, and acknowledges the server's settings."""
    buffer = b""
    while True:
        while len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3], "big"):
            size, kind, flags = int.from_bytes(buffer[:3], "big"), buffer[3], buffer[4]
            buffer = buffer[9 + size:]
            if kind == 4 and not flags & 1:
                connection.sendall(bytes.fromhex("000000040100000000"))
            if kind in (0, 1) and flags & 1:
                return
            if kind in (3, 7):
                raise SystemExit("the stream was reset")
        piece = connection.recv(16384)
        if not piece:
            raise SystemExit("the connection was closed")
        buffer += piece


def exercise(kind, port, count):
    """Opens and closes a few connections."""
    with connections(kind, port, count):
        pass


@contextlib.contextmanager
def connections(kind, port, count):
    """Holds `count` idle connections open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 1000), hard))
    tls = context(kind)
    held = []
    try:
        for _ in range(count):
            held.append(open_one(kind, port, tls))
        yield count
    finally:
        for connection in held:
            connection.close()
