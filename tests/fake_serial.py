"""A serial port and a clock that move only when the program looks: times are exact anywhere."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from typing import Callable

import pytest
import serial

import kamstrup_read as kr

BITS_PER_CHARACTER = 11
Chunks = Iterable["tuple[float, bytes]"]  # s after the request has left, bytes
Respond = Callable[[bytes, int], Chunks]  # called with each request, and how many came before it


class FakeClock:
    """Stands in for the module `time`. tick: s that each look at it takes.

    stops: s for which this process is stopped, by the number of the look that it follows.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.tick = 0.0
        self.looks = 0
        self.stops: dict[int, float] = {}

    def monotonic(self) -> float:
        self.now += self.tick
        seen = self.now
        self.now += self.stops.get(self.looks, 0.0)
        self.looks += 1
        return seen

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


class FakeSerial:
    """Stands in for pySerial's port; the meter behind it is a function.

    requests: (when the first byte left, request); openings: when it was opened, or should have
    been; quiet: s without a byte on the line before each request.
    """

    def __init__(self, clock: FakeClock, respond: Respond) -> None:
        self.clock = clock
        self.respond = respond
        self.baudrate = 1200
        self.is_open = False
        self.echo = False
        self.requests: list[tuple[float, bytes]] = []
        self.openings: list[float] = []
        self.quiet: list[float] = []
        self.last_byte = float("-inf")  # when it came or left
        self._arriving: list[tuple[float, int, int]] = []  # when, order, byte
        self._delivered = 0.0  # when the last response ends

    def open(self, name: str, **options: object) -> FakeSerial:
        """What pySerial's serial_for_url does."""
        assert not self.is_open, "it was not closed"
        self.is_open = True
        self.openings.append(self.clock.now)
        self.options = options
        self.baudrate, self.timeout = options["baudrate"], options["timeout"]
        return self

    def byte_time(self) -> float:
        return BITS_PER_CHARACTER / self.baudrate

    def add(self, when: float, data: bytes) -> None:
        """Let bytes come, the first of them at this time."""
        for at, byte in enumerate(data):
            item = (when + at * self.byte_time(), len(self._arriving) + at, byte)
            bisect.insort(self._arriving, item)

    def deliver(self, when: float, response: bytes) -> None:
        """Let a response come at this time, or once the one before it is over."""
        when = max(when, self._delivered)
        self._delivered = when + len(response) * self.byte_time()
        self.add(when, response)

    def write(self, data: bytes) -> int:
        self.quiet.append(self.clock.now - self.last_byte)
        self.requests.append((self.clock.now, data))
        if self.echo:
            self.add(self.clock.now + self.byte_time(), data)
        left = self.last_byte = self.clock.now + len(data) * self.byte_time()
        for delay, response in self.respond(data, len(self.requests) - 1):
            self.deliver(left + delay, response)
        return len(data)

    @property
    def in_waiting(self) -> int:
        return bisect.bisect(self._arriving, (self.clock.now, math.inf))

    def read(self, size: int) -> bytes:
        end = self.clock.now + self.timeout
        data = bytearray()
        while len(data) < size and self._arriving and self._arriving[0][0] <= end:
            when, _, byte = self._arriving.pop(0)
            self.clock.now = max(self.clock.now, when)
            self.last_byte = max(self.last_byte, when)
            data.append(byte)
        if len(data) < size:
            self.clock.now = end
        return bytes(data)

    def close(self) -> None:
        self.is_open = False


def connect(
    monkeypatch: pytest.MonkeyPatch, respond: Respond, kind: type[FakeSerial] = FakeSerial
) -> FakeSerial:
    """Let the program find this port and this clock, whatever port it opens."""
    port = kind(FakeClock(), respond)
    monkeypatch.setattr(kr, "time", port.clock)
    monkeypatch.setattr(serial, "serial_for_url", port.open)
    return port
