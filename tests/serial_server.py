"""A serial port offered on a network port, as ser2net, socat or an RFC 2217 server does it."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
import types
from typing import Callable

import serial
from serial import rfc2217

# What ser2net sends when a client connects to a telnet port: it will suppress go-ahead and echo,
# and wants no echo and binary transmission.
NEGOTIATION = b"\xff\xfb\x03\xff\xfb\x01\xff\xfe\x01\xff\xfd\x00"
IN_USE = b"Port already in use\r\n"


class _Port(serial.Serial):
    """A pseudo-terminal: the modem lines that it lacks are on."""

    cts = dsr = cd = property(lambda _self: True)
    ri = property(lambda _self: False)

    def _update_nothing(self) -> None:
        pass

    _update_dtr_state = _update_rts_state = _update_break_state = _update_nothing


class _WithoutControl(rfc2217.PortManager):
    """An RFC 2217 server that never answers SET-CONTROL: flow control, DTR, RTS, break."""

    def _telnet_process_subnegotiation(self, suboption: bytes) -> None:
        if suboption[:2] != rfc2217.COM_PORT_OPTION + rfc2217.SET_CONTROL:
            super()._telnet_process_subnegotiation(suboption)


class SerialServer:
    """Serves a serial port at 127.0.0.1, in a `with` statement. Opened while a client is connected.

    kind: "socket" for the bare bytes, "rfc2217" for a port whose speed the client can set.
    clients: how many may be connected at a time; each byte from the meter goes to one of them.
    second: what one more client meets: "refused", as by socat without fork; "in use", a text,
        as by ser2net; "closed" at once; or it "waits" in the queue until another one leaves.
    drops: how many connections it closes first, each after bytes_before bytes of a response.
    telnet: a telnet port, read as raw: FF is doubled, and telnet negotiation comes first.
    control: whether an RFC 2217 server supports modem lines and flow control.

    url: for pySerial. connections: how many were accepted, turned_away: how many more were not.
    """

    def __init__(
        self,
        port: str,
        kind: str = "socket",
        clients: int = 1,
        second: str = "refused",
        drops: int = 0,
        bytes_before: int = 0,
        telnet: bool = False,
        control: bool = True,
        tcp_port: int = 0,
    ) -> None:
        self.port = port
        self.kind = kind
        self.clients = clients
        self.second = second
        self.drops = drops
        self.bytes_before = bytes_before
        self.telnet = telnet
        self.control = control
        self.connections = 0
        self.turned_away = 0
        self._listener = socket.create_server(("127.0.0.1", tcp_port))
        self._address = self._listener.getsockname()
        self.url = f"{kind}://127.0.0.1:{self._address[1]}"
        self._stop, self._stopper = socket.socketpair()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> SerialServer:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopper.send(b"x")
        self._thread.join(5)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()
        self._stop.close()
        self._stopper.close()

    # accepting clients

    def _serve(self) -> None:
        while self._stop not in select.select([self._listener, self._stop], [], [])[0]:
            connection, _ = self._listener.accept()
            if self._is_full():
                self._turn_away(connection)
                continue
            self.connections += 1
            thread = threading.Thread(target=self._serve_client, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()
            if self._is_full() and self.second in ("refused", "waits"):
                self._wait_until_one_leaves()

    def _is_full(self) -> bool:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        return len(self._threads) >= self.clients

    def _turn_away(self, connection: socket.socket) -> None:
        self.turned_away += 1
        with connection, contextlib.suppress(OSError):
            if self.second == "in use":
                connection.sendall(IN_USE)

    def _wait_until_one_leaves(self) -> None:
        if self.second == "refused":
            self._listener.close()
        while self._is_full() and not select.select([self._stop], [], [], 0.01)[0]:
            pass
        if self.second == "refused":
            self._listener = socket.create_server(self._address)

    # serving a client

    def _serve_client(self, connection: socket.socket) -> None:
        drop = self.drops > 0
        if drop:
            self.drops -= 1
        with connection, contextlib.suppress(OSError):  # unplugged, or the client went away
            if drop and not self.bytes_before:
                return
            with _Port(self.port, 1200, stopbits=2, timeout=0) as port:
                self._pass_on(connection, port, self.bytes_before if drop else None)

    def _pass_on(self, connection: socket.socket, port: _Port, limit: int | None) -> None:
        """Pass bytes on, both ways, up to a limit from the meter."""
        from_client, from_meter = self._translators(connection, port)
        while True:
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
                    if limit == 0:
                        return

    def _translators(
        self, connection: socket.socket, port: _Port
    ) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
        """How bytes from the client and from the meter are changed on their way."""
        if self.kind == "rfc2217":
            manager_class = rfc2217.PortManager if self.control else _WithoutControl
            manager = manager_class(port, types.SimpleNamespace(write=connection.sendall))
            return (
                lambda data: b"".join(manager.filter(data)),
                lambda data: b"".join(manager.escape(data)),
            )
        if self.telnet:
            # Not before the first request: pySerial flushes what arrives while it opens a port.
            select.select([connection, self._stop], [], [])
            connection.sendall(NEGOTIATION)
            return _without_commands, lambda data: data.replace(b"\xff", b"\xff\xff")
        return bytes, bytes


def _without_commands(data: bytes) -> bytes:
    """What a telnet port takes for data: FF FF is one FF, FF and another byte is a command."""
    return re.sub(
        rb"\xff(.)", lambda pair: pair[1] if pair[1] == b"\xff" else b"", data, flags=re.S
    )
