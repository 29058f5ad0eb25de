#!/usr/bin/env python3
"""A Kamstrup meter and its IR head on a pseudo-terminal, for tests and for trying the reader.

Started as a program it prints its port and answers until it is stopped:

    python tests/simulated_meter.py                        a KMP meter, at the line's real pace
    python tests/simulated_meter.py --fault silence --fault silence    wakes up at the third request
    python tests/simulated_meter.py --meter 66 --echo      the older ASCII protocol, echoing head

It is written against the protocol descriptions, and shares no code with the reader.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import random
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterable
from typing import Callable

DATA = pathlib.Path(__file__).parent / "data"
BITS = 11  # a character on the line, in bits: start, 8 data (or 7 and parity), 2 stop
REST = 1.6  # s: after silence or damage a KMP meter discards requests for so long
SPEEDS = {termios.B300: 300, termios.B1200: 1200, termios.B9600: 9600}

Chunks = Iterable[tuple[float, bytes]]  # s to wait, then bytes to send
Registers = dict[int, tuple[int, int, bytes]]  # by id: unit id, sign and exponent, value


class Line:
    """The meter's end of the line: a pseudo-terminal, bytes at their pace, a log of what passed.

    pace: real time on the line (True), or as fast as the computer can (False).
    log: (monotonic time of the last byte, "heard" or "sent", bytes).
    """

    def __init__(self, pace: bool = True, echo: bool = False) -> None:
        self.pace = pace
        self.echo = echo
        self.log: list[tuple[float, str, bytes]] = []
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.port = os.ttyname(self.slave)
        self._stop, self._stopper = os.pipe()
        self._thread: threading.Thread | None = None
        self.stopped = False

    # what a meter does: subclasses say it

    def hear(self, data: bytes) -> None:
        raise NotImplementedError

    # the line

    def speed(self) -> int:
        """The speed that the port is set to."""
        return SPEEDS.get(termios.tcgetattr(self.master)[4], 0)

    def byte_time(self) -> float:
        return BITS / (self.speed() or 1200) if self.pace else 0.0

    def send(self, data: bytes, baudrate: int | None = None) -> None:
        """Send at the line's pace; at a speed other than the port's it arrives as rubbish."""
        rubbish = baudrate is not None and self.speed() != baudrate
        byte_time = BITS / (baudrate or self.speed() or 1200) if self.pace else 0.0
        due = time.monotonic()
        sent = due
        for at in range(0, len(data), 1 if self.pace else 4096):
            piece = data[at : at + (1 if self.pace else 4096)]
            due += byte_time
            self.sleep(due - time.monotonic())
            if self.stopped:
                return
            sent = time.monotonic()
            self._write(bytes(byte * 37 + 101 & 0xFF for byte in piece) if rubbish else piece)
        if data:
            self.log.append((sent, "sent", data))

    def send_chunks(self, chunks: Chunks) -> None:
        """Send (pause, bytes) after (pause, bytes); an unpaced line keeps the pauses."""
        for pause, data in chunks:
            self.sleep(pause)
            if self.stopped:
                return
            self.send(data)

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            select.select([self._stop], [], [], seconds)

    def unplug(self) -> None:
        """Pull the head out of the computer."""
        self.stopped = True
        for handle in (self.slave, self.master):
            with contextlib.suppress(OSError):
                os.close(handle)

    def _write(self, data: bytes) -> None:
        while data and not self.stopped:
            _, ready, _ = select.select([self._stop], [self.master], [], 1.0)
            if ready:
                data = data[os.write(self.master, data) :]

    def serve(self) -> None:
        """Hear and answer until stopped or unplugged."""
        while not self.stopped:
            ready, _, _ = select.select([self.master, self._stop], [], [])
            if self._stop in ready or self.stopped:
                return
            try:
                data = os.read(self.master, 4096)
                heard = time.monotonic() + len(data) * self.byte_time()
                if self.echo:
                    self._echo(data)
                elif self.pace:
                    self.sleep(heard - time.monotonic())
                self.log.append((heard, "heard", data))
                self.hear(data)
            except (OSError, ValueError):  # unplugged
                return

    def _echo(self, data: bytes) -> None:
        for at in range(len(data)):
            self.sleep(self.byte_time())
            self._write(data[at : at + 1])

    def start(self) -> None:
        self._thread = threading.Thread(target=self.serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.stopped = True
        with contextlib.suppress(OSError):
            os.write(self._stopper, b"x")
        if self._thread is not None:
            self._thread.join(5)
        for handle in (self._stop, self._stopper):
            with contextlib.suppress(OSError):
                os.close(handle)
        self.unplug()

    def __enter__(self):  # type: ignore[no-untyped-def]
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


# ---------------------------------------------------------------- KMP


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


def block(register: int, unit: int, sign_exponent: int, value: bytes) -> bytes:
    return register.to_bytes(2, "big") + bytes((unit, len(value), sign_exponent)) + value


def blocks_of(content: bytes) -> Registers:
    """The registers in the content of a GetRegister answer."""
    registers = {}
    data = content[2:]
    while data:
        registers[int.from_bytes(data[:2], "big")] = (data[2], data[4], data[5 : 5 + data[3]])
        data = data[5 + data[3] :]
    return registers


def recorded(meter: str) -> Registers:
    """The registers in the recorded answers of a real meter, the latest of each."""
    registers: Registers = {}
    for row in json.loads((DATA / "kmp-frames.json").read_text()):
        if row["kind"] == "real" and row["direction"] == "response" and meter in row["meter"]:
            content = content_of(bytes.fromhex(row["wire_hex"]), 0x40)
            if content is not None and content[1] == 0x10:
                registers.update(blocks_of(content))
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


METERS: dict[str, Callable[[], Registers]] = {
    "example": example,
    "403": lambda: recorded("403"),
    "601": lambda: recorded("601"),
}


class KmpMeter(Line):
    """A meter that speaks KMP.

    faults: what goes wrong with the first, second, ... request; `always` with every later one. Each is a
    function from (meter, request, right answer) to the chunks that are sent instead.
    """

    def __init__(
        self,
        registers: Registers | None = None,
        faults: Iterable[Fault] = (),
        always: Fault | None = None,
        pace: bool = False,
        echo: bool = False,
        baudrate: int = 1200,
        rest: float = REST,
    ) -> None:
        super().__init__(pace, echo)
        self.rest = rest
        self.registers = example() if registers is None else registers
        self.faults = iter(faults)
        self.always = always or right
        self.baudrate = baudrate
        self.asked: list[list[int]] = []
        self.too_early = 0  # requests that came before the rest was over
        self._pending = b""
        self._deaf_until = 0.0

    def hear(self, data: bytes) -> None:
        self._pending += data
        *requests, self._pending = self._pending.split(b"\x0d")
        for request in requests:
            self._answer(request[request.rfind(b"\x80") :] + b"\x0d")

    def _answer(self, request: bytes) -> None:
        content = content_of(request, 0x80)
        if content is None or content[0] != 0x3F or self.speed() != self.baudrate:
            return
        if time.monotonic() < self._deaf_until:
            self.too_early += 1
            return
        answer = frame(0x40, self._reply(content))
        fault = next(self.faults, self.always)
        self.send_chunks(fault(self, request, answer))
        if fault not in HEALTHY:
            self._deaf_until = time.monotonic() + self.rest - 0.1  # clocks and schedulers are not perfect

    def _reply(self, content: bytes) -> bytes:
        if content[1] == 0x01:
            return b"\x3f\x01\x00\x04\x06\x01"
        ids = [int.from_bytes(content[at : at + 2], "big") for at in range(3, len(content), 2)]
        self.asked.append(ids)
        known = [i for i in ids if i in self.registers]
        return b"\x3f\x10" + b"".join(block(i, *self.registers[i]) for i in known)


Fault = Callable[[KmpMeter, bytes, bytes], Chunks]


def right(_meter: KmpMeter, _request: bytes, answer: bytes) -> Chunks:
    return [(0, answer)]


def silence(_meter: KmpMeter, _request: bytes, _answer: bytes) -> Chunks:
    return []


def instead(data: bytes, pause: float = 0) -> Fault:
    """Send something else."""
    return lambda _meter, _request, _answer: [(pause, data)]


def late(seconds: float) -> Fault:
    return lambda _meter, _request, answer: [(seconds, answer)]


def around(before: bytes = b"", after: bytes = b"") -> Fault:
    return lambda _meter, _request, answer: [(0, before + answer + after)]


def noise_without_end(_meter: KmpMeter, _request: bytes, _answer: bytes) -> Chunks:
    generator = random.Random(1)
    while True:
        yield 0.002, bytes(generator.choice((0x01, 0x55, 0x40, 0xC0, 0xFE)) for _ in range(3))


def drip(_meter: KmpMeter, _request: bytes, answer: bytes) -> Chunks:
    for byte in (answer[:-1] + b"\x55" * 10_000)[:10_000]:
        yield 1.0, bytes((byte,))


def cut(_meter: KmpMeter, _request: bytes, answer: bytes) -> Chunks:
    return [(0, answer[: len(answer) // 2])]


def flip(at: int, bit: int = 0) -> Fault:
    """One bit of the answer wrong."""

    def flipped(_meter: KmpMeter, _request: bytes, answer: bytes) -> Chunks:
        place = at % len(answer)
        return [(0, answer[:place] + bytes((answer[place] ^ 1 << bit,)) + answer[place + 1 :])]

    return flipped


def changed(change: Callable[[bytes], bytes]) -> Fault:
    """An answer with a right CRC and other content."""
    return lambda _meter, _request, answer: [(0, frame(0x40, change(content_of(answer, 0x40) or b"")))]


def bad_crc(_meter: KmpMeter, _request: bytes, answer: bytes) -> Chunks:
    return [(0, frame(0x40, content_of(answer, 0x40) or b"", crc_error=0x1234))]


def twice(_meter: KmpMeter, _request: bytes, answer: bytes) -> Chunks:
    return [(0, answer + answer)]


def restart(_meter: KmpMeter, _request: bytes, answer: bytes) -> Chunks:
    return [(0, answer[: len(answer) // 2] + answer)]


def rubbish(size: int = 100_000) -> Fault:
    data = bytes(random.Random(2).randrange(256) for _ in range(size))
    return lambda _meter, _request, _answer: [(0, data)]


def unplug(after: float = 0.0, bytes_before: int = 0) -> Fault:
    """The head is pulled out, maybe in mid-answer."""

    def pulled(meter: KmpMeter, _request: bytes, answer: bytes) -> Chunks:
        meter.send(answer[:bytes_before])
        meter.sleep(after)
        meter.unplug()
        return []

    return pulled


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
HEALTHY = [right, empty, twice]  # after these the meter listens at once


# ---------------------------------------------------------------- the older ASCII protocol

Damage = Callable[[bytes], bytes]  # of the bytes of one answer


def even(text: str) -> bytes:
    """7-bit characters with even parity in bit 7."""
    return bytes(ord(char) | bin(ord(char)).count("1") % 2 << 7 for char in text)


class Mc66Meter(Line):
    """A MULTICAL 66 or 401.

    energy, volume, hours, customer: of the read-out; data, configuration: the strings of /#1 and /#2;
    waits_for_ack, newlines: how it presents its read-out; damages: what happens to the first, second, ...
    answer (data strings and read-out blocks), None for silence; spacing: s after an answer within which
    it does not listen.
    """

    def __init__(
        self,
        energy: str = "0456.631*GJ",
        volume: str = "3447.381*m3",
        hours: str = "0040345*h",
        customer: str = "00002742640",
        data: str = "0507109 1296626 0032673 0006811 0003366 0003445 0000031 0000079 0000093 0000000 \r",
        configuration: str = (
            "00000060017 0000000 0000000 0000000 0000000 0000000 0000000 0044119 1200000 0171028 \r"
        ),
        name: str = "/KAM0MC",
        waits_for_ack: bool = True,
        newlines: bool = False,
        damages: Iterable[Damage | None] = (),
        spacing: float = 0.0,
        pace: bool = False,
        echo: bool = False,
    ) -> None:
        super().__init__(pace, echo)
        newline = "\r\n" if newlines else ""
        groups = (f"0.0({customer})", f"6.8({energy})", f"6.26({volume})", f"6.31({hours})!")
        body = newline.join(groups) + newline + "\x03"
        self.block = "\x02" + body + chr(sum(map(ord, body)) % 128)
        self.strings = {"/#1": data, "/#2": configuration}
        self.name = name
        self.waits_for_ack = waits_for_ack
        self.damages = iter(damages)
        self.spacing = spacing
        self.asked: list[str] = []
        self._pending = ""
        self._deaf_until = 0.0

    def hear(self, data: bytes) -> None:
        if self.speed() != 300 or any(bin(byte).count("1") % 2 for byte in data):
            return
        if time.monotonic() < self._deaf_until:
            return
        self._pending = (self._pending + "".join(chr(byte & 0x7F) for byte in data))[-20:]
        if self._pending.endswith("/?!\r\n"):
            self._identify()
        elif self._pending.endswith("\x06000\r\n"):
            self._answer(self.block, 300)
        elif self._pending[-3:] in self.strings:
            self.asked.append(self._pending[-3:])
            self.sleep(0.35)
            self._answer(self.strings[self._pending[-3:]], 1200)

    def _identify(self) -> None:
        self.asked.append("/?!")
        self._pending = ""
        self.sleep(0.4 if self.pace else 0.05)
        self.send(even(self.name + "\r\n"), 300)
        if not self.waits_for_ack:
            self._answer(self.block, 300)

    def _answer(self, text: str, baudrate: int) -> None:
        self._pending = ""
        damage = next(self.damages, bytes)
        if damage is not None:
            self.send(damage(even(text)), baudrate)
        self._deaf_until = time.monotonic() + self.spacing


# ---------------------------------------------------------------- as a program


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A simulated Kamstrup meter; prints its port.")
    parser.add_argument("--meter", choices=[*METERS, "66", "401"], default="example")
    parser.add_argument("--link", help="make the port available under this name")
    parser.add_argument("--fast", action="store_true", help="as fast as possible, not at 1200 baud")
    parser.add_argument("--echo", action="store_true", help="the head echoes")
    parser.add_argument(
        "--fault", action="append", choices=[*FAULTS], default=[], help="of the first, second, ... request"
    )
    parser.add_argument("--always", choices=[*FAULTS], help="the fault of all later requests")
    return parser.parse_args()


def make(args: argparse.Namespace) -> KmpMeter | Mc66Meter:
    pace = not args.fast
    if args.meter == "401":
        return Mc66Meter(spacing=4.5 if pace else 0, pace=pace, echo=args.echo)
    if args.meter == "66":
        return Mc66Meter(
            "0507.109*MWh", "12966.26*m3", "0032673*h", "00000060017", name="/KAM MC", waits_for_ack=False,
            newlines=True, spacing=4.5 if pace else 0, pace=pace, echo=args.echo,
        )  # fmt: skip
    faults = [FAULTS[name] for name in args.fault]
    always = FAULTS[args.always] if args.always else None
    return KmpMeter(METERS[args.meter](), faults, always, pace, args.echo)


def main() -> None:
    args = options()
    meter = make(args)
    if args.link:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(args.link)
        os.symlink(meter.port, args.link)
    print(f"The meter is at {args.link or meter.port}. Ctrl-C stops it.", flush=True)
    try:
        meter.serve()
    except KeyboardInterrupt:
        pass
    finally:
        if args.link:
            os.unlink(args.link)


if __name__ == "__main__":
    sys.exit(main())
