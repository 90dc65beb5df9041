"""Loads for connections that carry bytes, and the backend that answers them.

The backend is a process of its own (`python3 l4load.py TCP_PORT UDP_PORT`). What a connection does is said by the
last letter of what it says first (alone, or after a ClientHello): `s` is answered with bytes until the client leaves, `k`
with itself and the end, `w` with itself; then the connection stays. Datagrams come back as they are.
"""

import contextlib
import resource
import selectors
import socket
import ssl
import sys
import threading
import time

HOST = "l4.example.com"
PIECE = bytes(1 << 20)
# The last byte of what a client says first; a ClientHello is followed by it.
STREAM, CLOSE, WAIT = b"s", b"k", b"w"


def hello():
    """A ClientHello for HOST, as OpenSSL writes it."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=HOST)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def answer(connection):
    with connection:
        said = b""
        # A ClientHello is one record, and its letter follows.
        while len(said) < (6 + int.from_bytes(said[3:5], "big") if said[:1] == b"\x16" else 1):
            piece = connection.recv(4096)
            if not piece:
                return
            said += piece
        try:
            match said[-1:]:
                case b"s":
                    while True:
                        connection.sendall(PIECE)
                case b"k":
                    connection.sendall(b"k")
                case _:
                    connection.sendall(b"w")
                    connection.recv(1)
        except OSError:
            pass


def backend(tcp_port, udp_port):
    threading.stack_size(256 * 1024)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = socket.create_server(("127.0.0.1", tcp_port), backlog=4096)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    datagrams.bind(("127.0.0.1", udp_port))

    def echo():
        while True:
            data, peer = datagrams.recvfrom(65536)
            datagrams.sendto(data, peer)

    threading.Thread(target=echo, daemon=True).start()
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def throughput(port, seconds, first, count=8):
    """GiB received by `count` connections."""
    total, until = 0, time.monotonic() + seconds
    room = bytearray(1 << 20)
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            connection.sendall(first + STREAM)
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
        while time.monotonic() < until:
            for key, _ in selector.select(1):
                received = key.fileobj.recv_into(room)
                if not received:
                    raise SystemExit("a connection ended early")
                total += received
    return total / (1 << 30), 0


def connects(port, seconds, first):
    """Connections that say a word, hear one and end."""
    done = failed = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(first + CLOSE)
                answered = connection.recv(1) == CLOSE and connection.recv(1) == b""
        except OSError:
            answered = False
        done, failed = done + answered, failed + (not answered)
    return done, failed


def datagrams(port, seconds, clients=16, window=4):
    """Datagrams of 64 bytes that came back; each client has a few under way."""
    done = lost = 0
    until = time.monotonic() + seconds
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(clients):
            client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            client.connect(("127.0.0.1", port))
            client.setblocking(False)
            for _ in range(window):
                client.send(PIECE[:64])
            selector.register(client, selectors.EVENT_READ)
        while time.monotonic() < until:
            ready = selector.select(0.5)
            if not ready:
                lost += 1
            for key, _ in ready:
                key.fileobj.recv(100)
                key.fileobj.send(PIECE[:64])
                done += 1
    return done, lost


def handshakes(port, seconds, identity, resumed):
    """Connections of a client with a certificate, one request each; resumed after the first of them."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(*identity)
    session, done, failed = None, 0, 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        tcp = socket.create_connection(("127.0.0.1", port), timeout=10)
        try:
            with context.wrap_socket(tcp, server_hostname=HOST, session=session) as tls:
                tls.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
                good = tls.recv(4096).startswith(b"HTTP/1.1 200") and (session is None or tls.session_reused)
                while tls.recv(4096):
                    pass
                # TLS 1.3 gives a ticket for one use with every connection.
                session = tls.session if resumed else None
        except OSError:
            good, session = False, None
        done, failed = done + good, failed + (not good)
    return done, failed


@contextlib.contextmanager
def idle(port, count, first):
    """Holds `count` connections that were carried to the backend and now say nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 1000)), hard))
    held = []
    try:
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            connection.sendall(first + WAIT)
            if connection.recv(1) != WAIT:
                raise SystemExit("an idle connection was not carried")
            held.append(connection)
        yield
    finally:
        for connection in held:
            connection.close()


if __name__ == "__main__":
    backend(int(sys.argv[1]), int(sys.argv[2]))
