"""A serial port and a clock that move only when the program looks at them.

Nothing here waits, so times are exact on any computer.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Callable

import pytest

import kamstrup_read as kr

BITS_PER_CHARACTER = 11
Chunks = Iterable["tuple[float, bytes]"]  # s after the request has left, bytes


class FakeClock:
    """Stands in for the module `time`. tick: s that each look at it takes."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now = 1000.0
        self.tick = tick

    def monotonic(self) -> float:
        self.now += self.tick
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


class FakeSerial:
    """Stands in for pySerial's port; the meter behind it is a function.

    respond: called with each request and how many came before it; returns what comes back, as (s
    after the request's last byte has left, bytes). Each byte takes its time on the wire.

    requests: (when the first byte left, request); reads: how often it was read.
    """

    port = "/dev/null"  # always there
    timeout = kr.POLL_INTERVAL

    def __init__(self, clock: FakeClock, respond: Callable[[bytes, int], Chunks]) -> None:
        self.clock = clock
        self.respond = respond
        self.baudrate = 1200
        self.echo = False
        self.requests: list[tuple[float, bytes]] = []
        self.reads = 0
        self.last_byte = 0.0  # when it came or left
        self._arriving: list[tuple[float, int, int]] = []  # when, order, byte

    def byte_time(self) -> float:
        return BITS_PER_CHARACTER / self.baudrate

    def add(self, when: float, data: bytes) -> None:
        """Let bytes come, the first of them at this time."""
        for at, byte in enumerate(data):
            item = (when + at * self.byte_time(), len(self._arriving) + at, byte)
            heapq.heappush(self._arriving, item)

    def write(self, data: bytes) -> int:
        self.requests.append((self.clock.now, data))
        if self.echo:
            self.add(self.clock.now + self.byte_time(), data)
        left = self.clock.now + len(data) * self.byte_time()
        self.last_byte = left
        for delay, response in self.respond(data, len(self.requests) - 1):
            self.add(left + delay, response)
        return len(data)

    @property
    def in_waiting(self) -> int:
        if not self._arriving or self._arriving[0][0] > self.clock.now:
            return 0
        return sum(when <= self.clock.now for when, _, _ in self._arriving)

    def read(self, size: int) -> bytes:
        self.reads += 1
        end = self.clock.now + self.timeout
        data = bytearray()
        while len(data) < size and self._arriving and self._arriving[0][0] <= end:
            when, _, byte = heapq.heappop(self._arriving)
            self.clock.now = max(self.clock.now, when)
            self.last_byte = when
            data.append(byte)
        if len(data) < size:
            self.clock.now = end
        return bytes(data)

    def close(self) -> None:
        pass


def connect(
    monkeypatch: pytest.MonkeyPatch,
    respond: Callable[[bytes, int], Chunks],
    tick: float = 0.0,
    kind: type[FakeSerial] = FakeSerial,
) -> FakeSerial:
    """Let the program find this port and this clock, whatever port it opens."""
    clock = FakeClock(tick)
    port = kind(clock, respond)
    monkeypatch.setattr(kr, "time", clock)
    monkeypatch.setattr(kr, "_open_serial", lambda _name, _baudrate: port)
    return port
