"""Just enough HTTP/2 to send what no gRPC client would: headers without a body, half a message."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING = 0, 1, 3, 4, 6
END_STREAM, ACK, END_HEADERS = 1, 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field never indexed, without Huffman coding (RFC 7541, 6.2.3)."""
    assert len(name) < 127 and len(value) < 127
    return b"\x10" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def request_headers(path):
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    return b"".join(literal(name, value) for name, value in fields)


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))
        self.next_stream = 1

    def open(self, path, n=1):
        """Opens n streams with headers alone; the id of the last."""
        block = request_headers(path)
        frames = []
        for _ in range(n):
            frames.append(frame(HEADERS, END_HEADERS, self.next_stream, block))
            self.next_stream += 2
        self.socket.sendall(b"".join(frames))
        return self.next_stream - 2

    def send(self, stream, payload, flags=0):
        self.socket.sendall(frame(DATA, flags, stream, payload))

    def ping(self):
        """Returns when the server has seen everything sent before."""
        self.socket.sendall(frame(SETTINGS, ACK, 0) + frame(PING, 0, 0, b"waymark!"))
        self.socket.settimeout(20)
        buffer = b""
        while True:
            received = self.socket.recv(65536)
            if not received:
                raise ConnectionError("the server closed the connection")
            buffer += received
            while len(buffer) >= 9:
                size = int.from_bytes(buffer[:3], "big")
                if len(buffer) < 9 + size:
                    break
                kind, flags = buffer[3], buffer[4]
                buffer = buffer[9 + size :]
                if kind == PING and flags & ACK:
                    return

    def close(self):
        self.socket.close()
