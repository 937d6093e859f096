"""A stand-in for the login of SQL Server: it speaks TDS 7.4 as far as a client needs to be let in, or not.

What it answers later is a failure with a number that the test chooses, or nothing at all. Section numbers are those of
Microsoft's open specification [MS-TDS], "Tabular Data Stream Protocol".
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

# 2.2.3.1.1 Type
BATCH, RPC, RESULT, TRANSACTION, LOGIN7, PRELOGIN = 0x01, 0x03, 0x04, 0x0E, 0x10, 0x12
END_OF_MESSAGE = 0x01  # 2.2.3.1.2 Status
HEADER = struct.Struct(">BBHHBB")  # 2.2.3.1: type, status, length, SPID, packet id, window

# 2.2.6.5 PRELOGIN: options, and values of ENCRYPTION
VERSION, ENCRYPTION, FEDAUTH_REQUIRED, TERMINATOR = 0x00, 0x01, 0x06, 0xFF
ENCRYPT_ON, ENCRYPT_NOT_SUPPORTED, ENCRYPT_REQUIRED = 0x01, 0x02, 0x03
FEDAUTH = 0x02  # 2.2.6.4 LOGIN7, FeatureId

LOGINACK, ERROR, FEATURE_ACK, CHANGE, DONE = 0xAD, 0xAA, 0xAE, 0xE3, 0xFD  # 2.2.7
TM_BEGIN = 5  # 2.2.6.9 Transaction Manager Request: TM_BEGIN_XACT; TM_COMMIT_XACT and TM_ROLLBACK_XACT -> ENVCHANGE
_ENDS = {7: 9, 8: 10}


@dataclass
class TdsServer:
    """What the test decides, and what was seen."""

    port: int = 0
    refuse: list[int] = field(default_factory=list)
    """Numbers with which the next logins are refused, first first; 0 lets one in."""
    refuse_all: int | None = None
    fail: list[int] = field(default_factory=list)
    """Numbers with which the next statements fail."""
    logins: int = 0
    tokens: list[bytes] = field(default_factory=list)
    """Of Entra ID, as they came with logins."""
    statements: list[str] = field(default_factory=list)


@contextmanager
def tds_server(certificate: Path | None = None) -> Iterator[TdsServer]:
    """Serves on a free port. With a certificate (and its key in the same file) connections can be encrypted."""
    found = TdsServer()
    listener = socket.create_server(("127.0.0.1", 0))
    found.port = listener.getsockname()[1]
    stopped = threading.Event()
    threads: list[threading.Thread] = []

    def accept() -> None:
        while not stopped.is_set():
            with suppress(OSError):
                client, _ = listener.accept()
                thread = threading.Thread(target=_Session(found, client, certificate).serve, daemon=True)
                threads.append(thread)
                thread.start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield found
    finally:
        stopped.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(5)
        for thread in threads:
            thread.join(5)


class _Session:
    def __init__(self, server: TdsServer, client: socket.socket, certificate: Path | None) -> None:
        self._server = server
        self._client = client
        self._certificate = certificate
        self._tls: _Tls | None = None

    def serve(self) -> None:
        self._client.settimeout(10)
        with self._client, suppress(OSError, ConnectionError):
            asked = self._receive()[1]
            self._send(RESULT, self._prelogin(asked))  # 2.2.3.1.1: a response of any kind is a tabular result
            if self._certificate is not None:
                self._tls = _Tls(self._client, self._certificate)
            if self._login(self._receive()[1]):
                while True:
                    self._answer(*self._receive())

    def _prelogin(self, asked: bytes) -> bytes:
        """2.2.6.5: FEDAUTHREQUIRED is answered by those alone who sent it."""
        encryption = ENCRYPT_ON if self._certificate else ENCRYPT_NOT_SUPPORTED
        options = {VERSION: bytes([16, 0, 4, 0, 0, 0]), ENCRYPTION: bytes([encryption])}
        if FEDAUTH_REQUIRED in _options(asked):
            options[FEDAUTH_REQUIRED] = b"\x01"
        offset, heads, values = 5 * len(options) + 1, b"", b""
        for option, value in options.items():
            heads += struct.pack(">BHH", option, offset + len(values), len(value))
            values += value
        return heads + bytes([TERMINATOR]) + values

    def _login(self, message: bytes) -> bool:
        self._server.logins += 1
        if (token := _fedauth_token(message)) is not None:
            self._server.tokens.append(token)
        number = self._server.refuse_all
        if number is None:
            number = self._server.refuse.pop(0) if self._server.refuse else 0
        if number:
            self._send(RESULT, _error(number, "Login failed for user 'app'.") + _done(failed=True))
            return False
        name = "Stand-in".encode("utf-16-le")
        # 2.2.7.14: interface SQL_TSQL, TDS 7.4 in network order, name, version
        body = struct.pack(">BI", 1, 0x74000004) + bytes([len(name) // 2]) + name + bytes([16, 0, 4, 0])
        features = b""
        if token is not None:  # 2.2.7.11: acknowledged without a nonce, there is no data
            features = bytes([FEATURE_ACK, FEDAUTH]) + struct.pack("<I", 0) + bytes([TERMINATOR])
        acknowledged = bytes([LOGINACK]) + struct.pack("<H", len(body)) + body
        self._send(RESULT, _CHANGES + acknowledged + features + _done())
        return True

    def _answer(self, kind: int, message: bytes) -> None:
        if kind == TRANSACTION:
            self._send(RESULT, _transaction(message) + _done())
            return
        text = message.decode("utf-16-le", "replace")
        if _TYPES_OF_DRIVER in text:
            self._send(RESULT, _done())
            return
        asked_by_library = next((answer for part, answer in _OF_ITSELF.items() if part in text), None)
        if asked_by_library is not None:
            self._send(RESULT, _row(asked_by_library) + _done())
            return
        self._server.statements.append(text)
        number = self._server.fail.pop(0) if self._server.fail else 0
        self._send(RESULT, _error(number, "It was chosen to fail.") + _done(failed=True) if number else _done())

    # ------------------------------------------------------------ packets

    def _receive(self) -> tuple[int, bytes]:
        message, status = b"", 0
        while not status & END_OF_MESSAGE:
            kind, status, length, *_ = HEADER.unpack(self._read(HEADER.size))
            message += self._read(length - HEADER.size)
        return kind, message

    def _send(self, kind: int, message: bytes) -> None:
        packet = HEADER.pack(kind, END_OF_MESSAGE, HEADER.size + len(message), 0, 1, 0) + message
        if self._tls is not None:
            self._tls.send(packet)
        else:
            self._client.sendall(packet)

    def _read(self, size: int) -> bytes:
        return self._tls.read(size) if self._tls is not None else _read_exactly(self._client, size)


class _Tls:
    """TLS as 3.2.5.2 tells it: the handshake travels in PRELOGIN packets, what follows does not."""

    def __init__(self, client: socket.socket, certificate: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # after a handshake of TLS 1.3 tickets would follow it
        self._client = client
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                self._flush_handshake()
                _, _, length, *_ = HEADER.unpack(_read_exactly(client, HEADER.size))
                self._incoming.write(_read_exactly(client, length - HEADER.size))
            else:
                self._flush_handshake()
                return

    def _flush_handshake(self) -> None:
        if data := self._outgoing.read():
            self._client.sendall(HEADER.pack(PRELOGIN, END_OF_MESSAGE, HEADER.size + len(data), 0, 1, 0) + data)

    def send(self, data: bytes) -> None:
        self._object.write(data)
        self._client.sendall(self._outgoing.read())

    def read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            try:
                part = self._object.read(size - len(found))
            except ssl.SSLWantReadError:
                data = self._client.recv(65536)
                if not data:
                    raise ConnectionError from None
                self._incoming.write(data)
            else:
                if not part:
                    raise ConnectionError
                found += part
        return found


def _read_exactly(client: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = client.recv(size - len(found))
        if not part:
            raise ConnectionError
        found += part
    return found


def _options(prelogin: bytes) -> set[int]:
    found, place = set(), 0
    while prelogin[place] != TERMINATOR:
        found.add(prelogin[place])
        place += 5
    return found


def _fedauth_token(login: bytes) -> bytes | None:
    """2.2.6.4: ibExtension (byte 56) points at the offset of FeatureExt, where OptionFlags3.fExtension (bit 4 of byte
    27) says so; FEDAUTH holds options, the length of the token, and the token."""
    if not login[27] & 0x10:
        return None
    (pointer,) = struct.unpack_from("<H", login, 56)
    (place,) = struct.unpack_from("<I", login, pointer)
    while login[place] != TERMINATOR:
        feature, size = struct.unpack_from("<BI", login, place)
        if feature == FEDAUTH:
            (length,) = struct.unpack_from("<I", login, place + 6)
            return login[place + 10 : place + 10 + length]
        place += 5 + size
    return None


def _error(number: int, text: str) -> bytes:
    """2.2.7.10: number, state, class, message, server, procedure, line."""
    name = "Stand-in".encode("utf-16-le")
    message = text.encode("utf-16-le")
    body = struct.pack("<IBBH", number, 1, 14, len(message) // 2) + message
    body += bytes([len(name) // 2]) + name + bytes([0]) + struct.pack("<I", 1)
    return bytes([ERROR]) + struct.pack("<H", len(body)) + body


def _change(kind: int, new: bytes, old: bytes) -> bytes:
    """2.2.7.9 ENVCHANGE."""
    body = bytes([kind]) + new + old
    return bytes([CHANGE]) + struct.pack("<H", len(body)) + body


def _words(text: str) -> bytes:
    """B_VARCHAR, 2.2.5.1.2."""
    return bytes([len(text)]) + text.encode("utf-16-le")


def _row(text: str) -> bytes:
    """2.2.7.4 COLMETADATA of one NVARCHAR column, and 2.2.7.19 ROW."""
    value = text.encode("utf-16-le")
    column = struct.pack("<IHBH", 0, 0, 0xE7, 256) + _COLLATION + _words("value")
    return b"\x81\x01\x00" + column + b"\xd1" + struct.pack("<H", len(value)) + value


def _transaction(request: bytes) -> bytes:
    """2.2.6.9: the type of the request follows the headers, whose length comes first (2.2.5.3)."""
    (headers,) = struct.unpack_from("<I", request)
    (kind,) = struct.unpack_from("<H", request, headers)
    descriptor = b"\x08" + bytes(range(1, 9))
    return _change(8, descriptor, b"\x00") if kind == TM_BEGIN else _change(_ENDS[kind], b"\x00", descriptor)


_TYPES_OF_DRIVER = "sp_datatype_info"
"""What the driver asks by itself when it connects."""
_OF_ITSELF = {
    "ProductVersion": "16.0.4000.1",
    "schema_name()": "dbo",
    "system_views": "dm_exec_sessions",
    "transaction_isolation_level": "READ COMMITTED",
    "test max support": "test max support",
    "fn_listextendedproperty": "1",
}
"""What SQLAlchemy asks of a server when it first connects."""
_COLLATION = bytes.fromhex("0904d00034")
"""SQL_Latin1_General_CP1_CI_AS, 2.2.5.1.2."""
_CHANGES = (
    _change(1, _words("x"), _words("master"))  # database
    + _change(7, bytes([5]) + _COLLATION, b"\x00")
    + _change(2, _words("us_english"), _words(""))
    + _change(4, _words("4096"), _words("4096"))  # packet size
)
"""What a server says of itself before LOGINACK."""


def _done(*, failed: bool = False) -> bytes:
    """2.2.7.6: status (DONE_ERROR is 0x2), command, row count."""
    return bytes([DONE]) + struct.pack("<HHQ", 2 if failed else 0, 0, 0)
