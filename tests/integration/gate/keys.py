"""A TLS 1.3 client that changes its keys, which Python's ssl has no function for."""

import _ssl
import ctypes
import socket

LIB = ctypes.CDLL(_ssl.__file__)  # with all of OpenSSL behind it
for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new", "BIO_s_mem", "BIO_new"):
    getattr(LIB, name).restype = ctypes.c_void_p
LIB.BIO_ctrl.restype = ctypes.c_long
BIO_CTRL_INFO = 3


def check(result):
    if result != 1:
        raise ConnectionError("OpenSSL says %d" % result)


def pointer(address):
    return ctypes.c_void_p(address)


class KeySocket:
    """Like a socket of Python's ssl; the server is not verified."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.settimeout(None)  # OpenSSL knows nothing of Python's time
        self.context = pointer(LIB.SSL_CTX_new(pointer(LIB.TLS_client_method())))
        LIB.SSL_CTX_set_alpn_protos(self.context, b"\x02h2", 3)
        self.ssl = pointer(LIB.SSL_new(self.context))
        LIB.SSL_set_fd(self.ssl, self.socket.fileno())
        check(LIB.SSL_connect(self.ssl))

    def sendall(self, data):
        if LIB.SSL_write(self.ssl, data, len(data)) != len(data):
            raise ConnectionError("SSL_write")

    def recv(self, size):
        buffer = ctypes.create_string_buffer(65536)
        n = LIB.SSL_read(self.ssl, buffer, min(size, 65536))
        return buffer.raw[: max(n, 0)]

    def change_keys(self, n, is_answered=False):
        for _ in range(n):
            check(LIB.SSL_key_update(self.ssl, 1 if is_answered else 0))
            check(LIB.SSL_do_handshake(self.ssl))

    def key_changes(self, n):
        """The bytes of so many, for self.socket; after this only recv() goes on."""
        memory, data = pointer(LIB.BIO_new(pointer(LIB.BIO_s_mem()))), ctypes.c_void_p()
        LIB.SSL_set0_wbio(self.ssl, memory)
        self.change_keys(n)
        size = LIB.BIO_ctrl(memory, BIO_CTRL_INFO, 0, ctypes.byref(data))
        return ctypes.string_at(data, size)

    def close(self):
        LIB.SSL_free(self.ssl)
        LIB.SSL_CTX_free(self.context)
        self.socket.close()
