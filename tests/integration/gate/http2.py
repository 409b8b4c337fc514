"""Just enough HTTP/2 to send what no gRPC client would, and to see what comes back."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
ENHANCE_YOUR_CALM = 0xB


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field never indexed, without Huffman coding (RFC 7541, 6.2.3)."""
    assert len(name) < 127 and len(value) < 127
    return b"\x10" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def headers_of(method):
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/waymark.test.Gate/" + method),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    return b"".join(literal(name, value) for name, value in fields)


def message_of(text):
    """A StringValue as gRPC frames it."""
    body = text.encode()
    assert len(body) < 128
    proto = b"\x0a" + bytes([len(body)]) + body if body else b""
    return b"\0" + struct.pack(">I", len(proto)) + proto


def request(method, stream, text=""):
    return frame(HEADERS, END_HEADERS, stream, headers_of(method)) + frame(DATA, END_STREAM, stream, message_of(text))


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload

    def __repr__(self):
        return "Frame(%d, %d, %d, %d bytes)" % (self.kind, self.flags, self.stream, len(self.payload))


class Connection:
    """A client that is told every byte to send. `sock` may be wrapped in TLS."""

    def __init__(self, port, source=None, sock=None, preface=True, before=b""):
        self.socket = sock or socket.create_connection(
            ("127.0.0.1", port), timeout=20, source_address=(source, 0) if source else None
        )
        self.buffer, self.at = b"", 0
        self.settled = False
        if before:
            self.send(before)
        if preface:
            self.send(PREFACE + frame(SETTINGS, 0, 0))

    def local_port(self):
        return self.socket.getsockname()[1]

    def send(self, data):
        """False when the server has closed the connection meanwhile."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def read(self):
        """The next frame; None at the end of the connection."""
        while True:
            left = len(self.buffer) - self.at
            size = int.from_bytes(self.buffer[self.at : self.at + 3], "big")
            if left >= 9 and left >= 9 + size:
                header = self.buffer[self.at : self.at + 9]
                payload = self.buffer[self.at + 9 : self.at + 9 + size]
                self.at += 9 + size
                return Frame(header[3], header[4], int.from_bytes(header[5:9], "big"), payload)
            try:
                received = self.socket.recv(1 << 20)
            except ConnectionError:
                received = b""
            if not received:
                return None
            self.buffer, self.at = self.buffer[self.at :] + received, 0

    def is_between_frames(self):
        return self.at == len(self.buffer)

    def read_until(self, wanted):
        """Frames up to the first of which wanted(frame) holds, or up to the end."""
        frames = []
        while True:
            got = self.read()
            if got is None:
                return frames
            frames.append(got)
            if wanted(got):
                return frames

    def settle(self):
        """Returns when the server has seen everything sent before."""
        if not self.settled:
            self.send(frame(SETTINGS, ACK, 0))
        self.settled = True
        self.send(frame(PING, 0, 0, b"waymark!"))
        frames = self.read_until(lambda f: f.kind == PING and f.flags & ACK)
        if not frames or frames[-1].kind != PING:
            raise ConnectionError("the server closed the connection: %s" % frames)
        return frames

    def call(self, method, stream, text=""):
        """All of the reply's DATA, as bytes."""
        self.send(request(method, stream, text))
        frames = self.read_until(lambda f: f.stream == stream and f.flags & END_STREAM and f.kind in (HEADERS, DATA))
        if not frames or frames[-1].stream != stream:
            raise ConnectionError("the server closed the connection: %s" % frames)
        return b"".join(f.payload for f in frames if f.kind == DATA)

    def end(self):
        """Reads to the end of the connection: (last stream id and code of GOAWAY or None, frames)."""
        frames = self.read_until(lambda f: False)
        assert self.is_between_frames(), "the connection ended inside a frame"
        goaways = [f for f in frames if f.kind == GOAWAY]
        if not goaways:
            return None, frames
        return struct.unpack(">II", goaways[-1].payload[:8]), frames

    def close(self):
        self.socket.close()
