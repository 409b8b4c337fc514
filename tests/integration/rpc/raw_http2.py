"""Just enough HTTP/2 to send what no gRPC client would, and to see the frames that come back."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
REFUSED_STREAM, ENHANCE_YOUR_CALM = 7, 11
INITIAL_WINDOW_SIZE = 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field never indexed, without Huffman coding (RFC 7541, 6.2.3)."""
    assert len(name) < 127 and len(value) < 127
    return b"\x10" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def request_headers(path, more=()):
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    return b"".join(literal(name, value) for name, value in fields + list(more))


class Connection:
    def __init__(self, port, window=None, source="127.0.0.1"):
        """`window`: how much of each stream the server may send unasked (65,535)."""
        settings = b"" if window is None else struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
        self.socket = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(20)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        self.next_stream = 1
        self.buffer = b""
        self.is_acknowledged = False

    def open(self, path, n=1, headers=()):
        """Opens n streams with headers alone; the id of the last."""
        block = request_headers(path, headers)
        frames = []
        for _ in range(n):
            frames.append(frame(HEADERS, END_HEADERS, self.next_stream, block))
            self.next_stream += 2
        self.socket.sendall(b"".join(frames))
        return self.next_stream - 2

    def ask(self, path, n=1, message=b"", headers=()):
        """Makes n calls, each with this one message; the ids of their streams."""
        block, data = request_headers(path, headers), struct.pack(">BI", 0, len(message)) + message
        streams = [self.next_stream + 2 * i for i in range(n)]
        self.next_stream += 2 * n
        for stream in streams:
            frames = frame(HEADERS, END_HEADERS, stream, block)
            for at in range(0, len(data), 16384):
                is_last = at + 16384 >= len(data)
                frames += frame(DATA, END_STREAM if is_last else 0, stream, data[at : at + 16384])
            self.socket.sendall(frames)
        return streams

    def widen(self, stream, size):
        """Lets the server send so much more on this stream, and on the connection."""
        increment = struct.pack(">I", size)
        self.socket.sendall(frame(WINDOW_UPDATE, 0, 0, increment) + frame(WINDOW_UPDATE, 0, stream, increment))

    def send(self, stream, payload, flags=0):
        self.socket.sendall(frame(DATA, flags, stream, payload))

    def acknowledge(self):
        """The server's settings, which are the first that it sends; until then they do not bind us."""
        if not self.is_acknowledged:
            self.wait(SETTINGS)
            self.socket.sendall(frame(SETTINGS, ACK, 0))
        self.is_acknowledged = True

    def frames(self):
        """What comes, as (kind, flags, stream, payload), until the server closes."""
        while True:
            while len(self.buffer) >= 9:
                size = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) < 9 + size:
                    break
                kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
                payload, self.buffer = self.buffer[9 : 9 + size], self.buffer[9 + size :]
                yield kind, flags, stream, payload
            try:
                received = self.socket.recv(65536)
            except ConnectionResetError:
                return
            if not received:
                return
            self.buffer += received

    def wait(self, kind, stream=None):
        """The flags and payload of the next frame of this kind; fails when the server closes first."""
        for found, flags, of, payload in self.frames():
            if found == kind and (stream is None or of == stream):
                return flags, payload
        raise ConnectionError("the server closed the connection")

    def ping(self):
        """Returns when the server has seen everything sent before."""
        self.acknowledge()
        self.socket.sendall(frame(PING, 0, 0, b"waymark!"))
        while not self.wait(PING)[0] & ACK:
            pass

    def close(self):
        self.socket.close()
