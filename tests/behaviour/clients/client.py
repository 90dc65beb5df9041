"""One GET over TLS with Python's ssl, twice on sessions of one context; prints how the second went."""
import socket
import ssl
import sys

address, name, authority, version, alpn, certificate, key = sys.argv[1:]
host, port = address.rsplit(":", 1)
context = ssl.create_default_context(cafile=authority)
context.minimum_version = context.maximum_version = {
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}[version]
context.set_alpn_protocols([alpn])
if certificate != "-":
    context.load_cert_chain(certificate, key)
session = None
for _ in range(2):
    with socket.create_connection((host, int(port)), timeout=15) as plain:
        with context.wrap_socket(plain, server_hostname=name, session=session) as tls:
            status = "h2"
            if tls.selected_alpn_protocol() == "h2":
                # The server's settings.
                tls.recv(9)
            else:
                tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
                answer = b""
                while chunk := tls.recv(4096):
                    answer += chunk
                status = answer.split(b" ")[1].decode() + " " + answer.rpartition(b"\r\n")[2].decode()
            session = tls.session
            resumed = "resumed" if tls.session_reused else "new"
            print(tls.version().removeprefix("TLSv"), tls.selected_alpn_protocol() or "-", resumed, status)
