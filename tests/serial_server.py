"""A serial port offered on a network port, as ser2net, socat or an RFC 2217 server does it."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import types
from typing import Callable

import serial
from serial import rfc2217


class _Port(serial.Serial):
    """A pseudo-terminal: the modem lines that it lacks are on."""

    cts = dsr = cd = property(lambda _self: True)
    ri = property(lambda _self: False)

    def _update_nothing(self) -> None:
        pass

    _update_dtr_state = _update_rts_state = _update_break_state = _update_nothing


class SerialServer:
    """Serves a serial port at 127.0.0.1, in a `with` statement. Opened while a client is connected.

    kind: "socket" for the bare bytes, "rfc2217" for a port whose speed the client can set.
    second: what one more client meets meanwhile: "refused", as by socat without fork; or it "waits"
        in the queue until the first one leaves.
    drops: how many connections it closes first, each after bytes_before bytes of a response.

    url: for pySerial. connections: how many were accepted.
    """

    def __init__(
        self,
        port: str,
        kind: str = "socket",
        second: str = "refused",
        drops: int = 0,
        bytes_before: int = 0,
        tcp_port: int = 0,
    ) -> None:
        self.port = port
        self.kind = kind
        self.second = second
        self.drops = drops
        self.bytes_before = bytes_before
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", tcp_port))
        self._address = self._listener.getsockname()
        self.url = f"{kind}://127.0.0.1:{self._address[1]}"
        self._stop, self._stopper = socket.socketpair()

    def __enter__(self) -> SerialServer:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopper.send(b"x")
        self._thread.join(5)
        self._listener.close()
        self._stop.close()
        self._stopper.close()

    def _serve(self) -> None:
        while self._stop not in select.select([self._listener, self._stop], [], [])[0]:
            connection, _ = self._listener.accept()
            self.connections += 1
            if self.second == "refused":
                self._listener.close()
            with connection, contextlib.suppress(OSError):  # unplugged, or the client went away
                self._serve_client(connection)
            if self.second == "refused":
                self._listener = socket.create_server(self._address)

    def _serve_client(self, connection: socket.socket) -> None:
        limit = None
        if self.connections <= self.drops:
            limit = self.bytes_before
        if limit != 0:
            with _Port(self.port, 1200, stopbits=2, timeout=0) as port:
                self._pass_on(connection, port, limit)

    def _pass_on(self, connection: socket.socket, port: _Port, limit: int | None) -> None:
        """Pass bytes on, both ways, up to a limit from the meter."""
        from_client, from_meter = self._translators(connection, port)
        while limit != 0:
            ready = select.select([connection, port, self._stop], [], [])[0]
            if self._stop in ready:
                return
            if connection in ready:
                data = connection.recv(4096)
                if not data:
                    return
                port.write(from_client(data))
            if port in ready:
                data = port.read(4096)[:limit]
                connection.sendall(from_meter(data))
                if limit is not None:
                    limit -= len(data)

    def _translators(
        self, connection: socket.socket, port: _Port
    ) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
        """How bytes from the client and from the meter are changed on their way."""
        if self.kind == "socket":
            return bytes, bytes
        manager = rfc2217.PortManager(port, types.SimpleNamespace(write=connection.sendall))
        return (
            lambda data: b"".join(manager.filter(data)),
            lambda data: b"".join(manager.escape(data)),
        )
