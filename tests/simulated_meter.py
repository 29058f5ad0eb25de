#!/usr/bin/env python3
"""A Kamstrup meter and its IR head on a pseudo-terminal, for tests and for trying the reader.

Started as a program it prints its port and serves until it is stopped:

    python tests/simulated_meter.py                        a KMP meter, at the line's real pace
    python tests/simulated_meter.py --fault silence --fault silence    wakes up at the third request
    python tests/simulated_meter.py --meter 66 --echo      the older ASCII protocol, echoing head
    python tests/simulated_meter.py --tcp 4000             also at socket://127.0.0.1:4000

It is written against the protocol descriptions, and shares no code with the reader.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import select
import signal
import socket
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterable
from typing import Any, Callable

DATA = pathlib.Path(__file__).parent / "data"
BITS_PER_CHARACTER = 11  # on the line: start, 8 data (or 7 and parity), 2 stop
REST = 1.6  # s: after silence or damage a KMP meter discards requests for so long
POLL = 0.01  # s between two looks at the port
IN_TRANSIT = 0.01  # s that bytes may take from one end of a pseudo-terminal to the other
SPEEDS = {termios.B300: 300, termios.B1200: 1200}

Chunks = Iterable[tuple[float, bytes]]  # s to wait, then bytes to send
Fault = Callable[["Line", bytes, bytes], Chunks]  # meter, request, right response; as on the line
Registers = dict[int, tuple[int, int, bytes]]  # by id: unit id, sign and exponent, value


class Line:
    """The meter's end of the line: a pseudo-terminal, bytes at their pace, a log of what passed.

    faults: what goes wrong with the first, second, ... request; always: with every later one.
    pace: real time on the line (True), or as fast as the computer can (False).

    port: the device to open.
    log: (monotonic time of the last byte, "received" or "sent", bytes).
    too_early: how many requests came before the meter accepted requests again.

    On a busy computer this thread may wake late. All it knows is that a request was sent after
    the port was last found empty, and before the request was read: it assumes what is best for
    the sender, so requests counted in too_early were too early.
    """

    def __init__(
        self,
        faults: Iterable[Fault] = (),
        always: Fault | None = None,
        pace: bool = True,
        echo: bool = False,
    ) -> None:
        self.faults = iter(faults)
        self.always = always or right
        self.pace = pace
        self.echo = echo
        self.log: list[tuple[float, str, bytes]] = []
        self.too_early = 0
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        tty.setraw(self.slave)
        self.port = os.ttyname(self.slave)
        self.stopped = False
        self._stop, self._stopper = socket.socketpair()
        self._thread = threading.Thread(target=self.serve, daemon=True)
        # The bytes just read were written between these times, at one of these speeds.
        self._empty_at = self._read_at = time.monotonic()
        self._speed_when_empty = self._speed_when_read = 0
        # When the last request had been received, at the earliest; when the last byte was sent,
        # and when a computer that is never late would have sent it; s to rest after that.
        self._received = self._sent = self._on_time = self._clock = float("-inf")
        self._rest = 0.0

    def receive(self, data: bytes) -> None:
        """What the meter does with bytes that it received."""
        raise NotImplementedError

    # for subclasses and faults

    def speed(self) -> int:
        """The speed that the port is set to; 0 for one that no meter has."""
        return SPEEDS.get(termios.tcgetattr(self.master)[4], 0)

    def byte_time(self, baudrate: int | None = None) -> float:
        """Seconds that a byte takes, at the port's speed if no other is given."""
        return BITS_PER_CHARACTER / (baudrate or self.speed() or 1200) if self.pace else 0.0

    def accept(self, size: int) -> bool:
        """Note that a whole request of so many bytes was received; False if it came too early."""
        last_byte = self._received
        if self._sent <= self._empty_at:  # otherwise the request may have come before that
            # Who gave up on a damaged response may have done so before a late computer sent it.
            last_byte = max(last_byte, self._on_time if self._rest else self._sent)
        if self._read_at - last_byte < self._rest:
            self.too_early += 1
            return False
        self._received = self._clock = self._empty_at - IN_TRANSIT + size * self.byte_time()
        return True

    def respond(self, request: bytes, response: bytes, baudrate: int | None = None) -> bytes:
        """Send what the next fault makes of the response, with its pauses; return what was sent."""
        sent = bytearray()
        for pause, data in next(self.faults, self.always)(self, request, response):
            self.pause(pause)
            if self.stopped:
                break
            self.send(data, baudrate)
            sent += data
        return bytes(sent)

    def send(self, data: bytes, baudrate: int | None = None) -> None:
        """Send at the line's pace; at a speed other than the port's it arrives as rubbish."""
        misread = baudrate is not None and self.speed() != baudrate
        byte_time = self.byte_time(baudrate)
        size = 1 if self.pace else 4096
        due = time.monotonic()
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            due += byte_time
            self.sleep(due - time.monotonic())
            if self.stopped:
                return
            self._sent = time.monotonic()
            self._write(bytes(byte * 37 + 101 & 0xFF for byte in piece) if misread else piece)
        if data:
            self._clock += len(data) * byte_time
            self._on_time = self._clock
            self.log.append((self._sent, "sent", data))

    def pause(self, seconds: float) -> None:
        """Let the meter take its time."""
        self._clock += seconds
        self.sleep(seconds)

    def sleep(self, seconds: float) -> None:
        """Sleep, but not longer than the meter exists."""
        if seconds > 0:
            select.select([self._stop], [], [], seconds)

    def _write(self, data: bytes) -> None:
        while data and not self.stopped:
            select.select([self._stop], [self.master], [], 0.1)
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(self.master, data) :]

    # serving

    def serve(self) -> None:
        """Receive and respond until stopped or unplugged."""
        while not self.stopped:
            looked_at, speed = time.monotonic(), self.speed()
            if self._is_readable(within=0):
                self._read()
            else:
                self._empty_at, self._speed_when_empty = looked_at, speed
                self._is_readable(within=POLL)

    def _is_readable(self, within: float) -> bool:
        ready, _, _ = select.select([self.master, self._stop.fileno()], [], [], within)
        return self.master in ready and not self.stopped

    def _read(self) -> None:
        self._read_at, self._speed_when_read = time.monotonic(), self.speed()
        try:
            data = os.read(self.master, 4096)
        except BlockingIOError:  # the other end has flushed its output
            return
        received = self._read_at + len(data) * self.byte_time()
        if self.echo:
            for at in range(len(data)):
                self.sleep(self.byte_time())
                self._write(data[at : at + 1])
        self.sleep(received - time.monotonic())
        self.log.append((received, "received", data))
        self.receive(data)
        self._empty_at, self._speed_when_empty = self._read_at, self._speed_when_read

    def wait_until_idle(self) -> None:
        """Return when all that was sent to the meter has been dealt with."""
        sent = time.monotonic() + IN_TRANSIT
        while self._empty_at < sent and not self.stopped:
            time.sleep(POLL)
        time.sleep(IN_TRANSIT)

    def unplug(self) -> None:
        """Pull the head out of the computer: the port vanishes."""
        if not self.stopped:
            self.stopped = True
            self._stopper.send(b"x")
            if self._thread is not threading.current_thread():
                self._thread.join(5)
            os.close(self.master)  # the other end stays open: so nobody else gets the port's name

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()
        self._thread.join(5)
        os.close(self.slave)
        self._stop.close()
        self._stopper.close()


# ---------------------------------------------------------------- KMP frames and registers


def crc16(data: bytes) -> int:
    """CRC-16/XMODEM, bit by bit."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


STUFFED = {byte: bytes((0x1B, 255 - byte)) for byte in (0x80, 0x40, 0x0D, 0x06, 0x1B)}
PLAIN = {pair[1]: byte for byte, pair in STUFFED.items()}


def frame(start: int, content: bytes, crc_error: int = 0) -> bytes:
    """A frame around destination, CID and data."""
    content += (crc16(content) ^ crc_error).to_bytes(2, "big")
    stuffed = b"".join(STUFFED.get(byte, bytes((byte,))) for byte in content)
    return bytes((start,)) + stuffed + b"\x0d"


def content_of(wire: bytes, start: int) -> bytes | None:
    """Destination, CID and data of an undamaged frame, else None."""
    if wire[:1] != bytes((start,)) or wire[-1:] != b"\x0d":
        return None
    content = bytearray()
    inner = iter(wire[1:-1])
    for byte in inner:
        if byte == 0x1B:
            plain = PLAIN.get(next(inner, -1))
            if plain is None:
                return None
            content.append(plain)
        else:
            content.append(byte)
    return bytes(content[:-2]) if len(content) >= 4 and crc16(bytes(content)) == 0 else None


def requested_registers(content: bytes) -> list[int]:
    """The register ids in the content of a GetRegister request."""
    return [int.from_bytes(content[at : at + 2], "big") for at in range(3, len(content), 2)]


def block(register: int, unit: int, sign_exponent: int, value: bytes) -> bytes:
    return register.to_bytes(2, "big") + bytes((unit, len(value), sign_exponent)) + value


def recorded(meter: str) -> Registers:
    """The registers in the recorded responses of a real meter, the latest of each."""
    registers: Registers = {}
    for row in json.loads((DATA / "kmp-frames.json").read_text()):
        if row["kind"] == "real" and row["direction"] == "response" and meter in row["meter"]:
            content = content_of(bytes.fromhex(row["wire_hex"]), 0x40) or b"\x3f\x10"
            data = content[2:] if content[1] == 0x10 else b""
            while data:
                register, end = int.from_bytes(data[:2], "big"), 5 + data[3]
                registers[register] = (data[2], data[4], data[5:end])
                data = data[end:]
    return registers


def example() -> Registers:
    """A meter of a house with heat and hot water: formats as recorded, values made up."""

    def number(value: int, length: int = 4) -> bytes:
        return value.to_bytes(length, "big")

    return {
        60: (8, 0x43, number(16235)),  # 16.235 GJ
        68: (40, 0x42, number(78421)),  # 784.21 m3
        74: (41, 0x00, number(231)),  # 231 l/h
        80: (22, 0x41, number(64)),  # 6.4 kW
        84: (40, 0x43, number(147307)),  # 147.307 m3
        85: (40, 0x43, number(0)),
        86: (37, 0x42, number(6725)),  # 67.25 C
        87: (37, 0x42, number(2691)),
        89: (38, 0x42, number(4034)),
        98: (50, 0x00, number(1231)),  # 12-31
        99: (51, 0x00, number(0)),
        113: (51, 0x00, number(3)),
        123: (48, 0x00, number(220112)),  # 2022-01-12
        124: (41, 0x00, number(312)),
        1001: (51, 0x00, number(6892850)),
        1002: (47, 0x00, number(200243)),  # 20:02:43
        1003: (48, 0x00, number(261122)),
        1004: (46, 0x00, number(40345)),
        1010: (51, 0x00, number(2742640)),
    }


RECORDED = ("403", "601")


# ---------------------------------------------------------------- faults


def right(_meter: Line, _request: bytes, response: bytes) -> Chunks:
    return [(0, response)]


def silence(_meter: Line, _request: bytes, _response: bytes) -> Chunks:
    return []


def instead(data: bytes) -> Fault:
    """Send something else."""
    return changed_bytes(lambda _response: data)


def late(seconds: float) -> Fault:
    """The meter is busy for so long, and receives nothing meanwhile."""
    return lambda _meter, _request, response: [(seconds, response)]


def changed_bytes(change: Callable[[bytes], bytes]) -> Fault:
    """Other bytes on the line, whatever they mean."""
    return lambda _meter, _request, response: [(0, change(response))]


def around(before: bytes = b"", after: bytes = b"") -> Fault:
    return changed_bytes(lambda response: before + response + after)


def flip(at: int, bit: int = 0) -> Fault:
    """One bit of the response wrong."""

    def flipped(response: bytes) -> bytes:
        damaged = bytearray(response)
        damaged[at % len(response)] ^= 1 << bit
        return bytes(damaged)

    return changed_bytes(flipped)


cut = changed_bytes(lambda response: response[: len(response) // 2])
restart = changed_bytes(lambda response: response[: len(response) // 2] + response)
twice = changed_bytes(lambda response: response + response)


def noise_without_end(_meter: Line, _request: bytes, _response: bytes) -> Chunks:
    while True:
        yield 0.002, b"\x01\x55\x40\xc0\xfe"


def drip(_meter: Line, _request: bytes, response: bytes) -> Chunks:
    """A byte a second, without end."""
    for byte in response[:-1]:
        yield 1.0, bytes((byte,))
    while True:
        yield 1.0, b"\x55"


def rubbish(size: int = 100_000) -> Fault:
    return instead(random.Random(2).randbytes(size))


def unplug(after: float = 0.0) -> Fault:
    """The head is pulled out before the response."""

    def unplugged(meter: Line, _request: bytes, _response: bytes) -> Chunks:
        meter.pause(after)
        meter.unplug()
        return []

    return unplugged


def changed(change: Callable[[bytes], bytes]) -> Fault:
    """A KMP response with a right CRC and other content."""
    return changed_bytes(lambda wire: frame(0x40, change(content_of(wire, 0x40) or b"")))


def bad_crc(_meter: Line, _request: bytes, response: bytes) -> Chunks:
    return [(0, frame(0x40, content_of(response, 0x40) or b"", crc_error=0x1234))]


def poison(*registers: int) -> Fault:
    """A KMP meter is silent when a request names one of these registers."""

    def poisoned(_meter: Line, request: bytes, response: bytes) -> Chunks:
        requested = requested_registers(content_of(request, 0x80) or b"")
        return [] if set(registers) & set(requested) else [(0, response)]

    return poisoned


empty = changed(lambda content: content[:2])

FAULTS: dict[str, Fault] = {
    "silence": silence,
    "late": late(1.5),
    "zero": around(before=b"\x00"),
    "noise": around(before=b"\x55\xaa\x12\x0d\x40\x99\x0d\xff"),
    "endless": noise_without_end,
    "drip": drip,
    "cut": cut,
    "flip": flip(7),
    "crc": bad_crc,
    "register": changed(lambda content: content[:2] + b"\x00\x99" + content[4:]),
    "address": changed(lambda content: b"\x3e" + content[1:]),
    "cid": changed(lambda content: content[:1] + b"\x11" + content[2:]),
    "lengths": changed(lambda content: content[:5] + b"\x07" + content[6:]),
    "empty": empty,
    "twice": twice,
    "restart": restart,
    "rubbish": rubbish(),
    "unplug": unplug(0.5),
    "ok": right,
}


# ---------------------------------------------------------------- the meters


class KmpMeter(Line):
    """A meter that speaks KMP.

    rest: s after silence or damage in which it discards requests. After a whole response, right
    or empty, it accepts the next one at once, whatever else was on the line.

    requests: the register ids of each request that was accepted.
    """

    def __init__(
        self,
        registers: Registers | None = None,
        faults: Iterable[Fault] = (),
        always: Fault | None = None,
        pace: bool = False,
        echo: bool = False,
        rest: float = REST,
    ) -> None:
        super().__init__(faults, always, pace, echo)
        self.registers = example() if registers is None else registers
        self.rest = rest
        self.requests: list[list[int]] = []
        self._pending = b""

    def receive(self, data: bytes) -> None:
        *requests, self._pending = (self._pending + data).split(b"\x0d")
        for request in requests:
            self._receive_request(request[request.rfind(b"\x80") :] + b"\x0d")

    def _receive_request(self, request: bytes) -> None:
        content = content_of(request, 0x80)
        if content is None or content[0] != 0x3F or self._speed_when_read != 1200:
            return
        if not self.accept(len(request)):
            return
        ids = requested_registers(content)
        self.requests.append(ids)
        known = [register for register in ids if register in self.registers]
        blocks = b"".join(block(register, *self.registers[register]) for register in known)
        response = frame(0x40, b"\x3f\x10" + blocks)
        sent = self.respond(request, response)
        empty_response = frame(0x40, b"\x3f\x10")
        self._rest = 0.0 if response in sent or empty_response in sent else self.rest


def even(text: str) -> bytes:
    """7-bit characters with even parity in bit 7."""
    return bytes(ord(char) | bin(ord(char)).count("1") % 2 << 7 for char in text)


# The data strings /#1 and /#2: ten fields, as recorded from a 66.
MC66_DATA = "0507109 1296626 0032673 0006811 0003366 0003445 0000031 0000079 0000093 0000000 \r"
MC66_CONFIGURATION = f"00000060017 {'0000000 ' * 6}0044119 1200000 0171028 \r"
READ_OUT, ACK = "/?!\r\n", "\x06000\r\n"
MC66_REQUEST = re.compile("(" + "|".join(map(re.escape, (READ_OUT, ACK, "/#1", "/#2"))) + ")")


class Mc66Meter(Line):
    """A MULTICAL 66, 401 or 41.

    energy, volume, hours, customer: the groups of the read-out; data: the string of /#1.
    waits_for_ack, newlines: how it presents its read-out.
    faults, always: each for one read-out block or data string, not for the identification.
    spacing: s after a response in which it ignores requests.

    requests: those that were accepted, "/?!", "/#1" and "/#2".
    """

    def __init__(
        self,
        energy: str = "0456.631*GJ",
        volume: str = "3447.381*m3",
        hours: str = "0040345*h",
        customer: str = "00002742640",
        data: str = MC66_DATA,
        name: str = "/KAM0MC",
        waits_for_ack: bool = True,
        newlines: bool = False,
        faults: Iterable[Fault] = (),
        always: Fault | None = None,
        spacing: float = 0.0,
        pace: bool = False,
        echo: bool = False,
    ) -> None:
        super().__init__(faults, always, pace, echo)
        newline = "\r\n" if newlines else ""
        groups = {"0.0": customer, "6.8": energy, "6.26": volume, "6.31": hours}
        printed = [f"{code}({value})" for code, value in groups.items()]
        body = newline.join(printed) + "!" + newline + "\x03"
        self.block = "\x02" + body + chr(sum(map(ord, body)) % 128)
        self.strings = {"/#1": data, "/#2": MC66_CONFIGURATION}
        self.name = name
        self.waits_for_ack = waits_for_ack
        self.spacing = spacing
        self.requests: list[str] = []
        self._pending = ""
        self._ack_expected = False

    def receive(self, data: bytes) -> None:
        # The port is set to 1200 baud once a request is out, 0.11 s after it was written.
        is_unsure = self._read_at - self._empty_at > 0.1
        is_at_300 = is_unsure or 300 in (self._speed_when_empty, self._speed_when_read)
        if not is_at_300 or any(bin(byte).count("1") % 2 for byte in data):
            return
        text = "".join(chr(byte & 0x7F) for byte in data)
        *pieces, rest = MC66_REQUEST.split(self._pending + text)
        self._pending = rest[-20:]
        for request in pieces[1::2]:
            if request == ACK:
                self._send_block()
            elif self.accept(len(request)):
                self.requests.append(request.strip())
                self._ack_expected = False
                if request == READ_OUT:
                    self._identify()
                else:
                    self._send_string(request)

    def _identify(self) -> None:
        self.pause(0.4 if self.pace else 0.05)
        self.send(even(self.name + "\r\n"), 300)
        self._ack_expected = True
        if not self.waits_for_ack:
            self._send_block()

    def _send_block(self) -> None:
        if self._ack_expected:
            self._ack_expected = False
            self.respond(even(READ_OUT), even(self.block), 300)
            self._rest = self.spacing

    def _send_string(self, request: str) -> None:
        self.pause(0.35)
        # A busy computer has as long to change the speed as a meter may take to respond.
        until = time.monotonic() + (0 if self.pace else 1.6)
        while self.speed() != 1200 and time.monotonic() < until and not self.stopped:
            self.sleep(POLL)
        self.respond(even(request), even(self.strings[request]), 1200)
        self._rest = self.spacing


MC66_METERS: dict[str, dict[str, Any]] = {
    "401": {},
    "66": {
        "energy": "0507.109*MWh",
        "volume": "12966.26*m3",
        "hours": "0032673*h",
        "customer": "00000060017",
        "name": "/KAM MC",
        "waits_for_ack": False,
        "newlines": True,
    },
    "41": {
        "energy": "",
        "data": f"0000000 3447381 0040345 {'0000000 ' * 4}0000079 0000000 0000000 \r",
        "name": "/KAM0MCC",
    },
}


# ---------------------------------------------------------------- as a program


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A simulated Kamstrup meter; prints its port.")
    add = parser.add_argument
    add(
        "--meter",
        choices=["example", *RECORDED, *MC66_METERS],
        default="example",
        help="default: example",
    )
    add("--link", metavar="PATH", help="make the port available under this name")
    add("--fast", action="store_true", help="as fast as possible, not at 1200 baud")
    add("--echo", action="store_true", help="the head echoes")
    names = f"of the first, second, ... request: {', '.join(FAULTS)}"
    add("--fault", action="append", choices=FAULTS, default=[], metavar="NAME", help=names)
    add("--always", choices=FAULTS, metavar="NAME", help="the fault of all later requests")
    for kind in ("socket", "rfc2217"):
        name = "--tcp" if kind == "socket" else "--rfc2217"
        add(name, type=int, metavar="PORT", help=f"offer it at {kind}://127.0.0.1:PORT too")
    return parser.parse_args()


def make_meter(options: argparse.Namespace) -> KmpMeter | Mc66Meter:
    common: dict[str, Any] = {
        "faults": [FAULTS[name] for name in options.fault],
        "always": FAULTS[options.always or "ok"],
        "pace": not options.fast,
        "echo": options.echo,
    }
    if options.meter in MC66_METERS:
        spacing = 0.0 if options.fast else 4.5
        return Mc66Meter(spacing=spacing, **MC66_METERS[options.meter], **common)
    registers = recorded(options.meter) if options.meter in RECORDED else example()
    return KmpMeter(registers, **common)


def serve(options: argparse.Namespace) -> None:
    meter = make_meter(options)
    names = [options.link or meter.port]
    with contextlib.ExitStack() as stack:
        if options.link:
            if os.path.islink(options.link):
                os.unlink(options.link)
            os.symlink(meter.port, options.link)
            stack.callback(os.unlink, options.link)
        for kind, tcp_port in (("socket", options.tcp), ("rfc2217", options.rfc2217)):
            if tcp_port is not None:
                from serial_server import SerialServer

                server = SerialServer(meter.port, kind, tcp_port=tcp_port)
                names.append(stack.enter_context(server).url)
        print(f"The meter is at {' and '.join(names)}. Ctrl-C stops it.", flush=True)
        meter.serve()


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        serve(parse_options())
    except KeyboardInterrupt:
        pass
    except (OSError, OverflowError) as error:
        print(f"simulated_meter: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
