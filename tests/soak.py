#!/usr/bin/env python3
"""Read and push for thousands of rounds, with faults of line and Domoticz at random, and see that nothing wrong
is stored and nothing leaks.

    python tests/soak.py                   3,000 rounds, some minutes
    python tests/soak.py --rounds 200 --seed 7

The meter counts up from round to round, so a value of another round is a wrong one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import pathlib
import random
import resource
import sys
import time
from collections import Counter
from decimal import Decimal

import fake_domoticz as fake
import simulated_meter as sim

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import kamstrup_read as kr

LINE_FAULTS = [
    sim.silence,
    sim.cut,
    sim.bad_crc,
    sim.flip(9, 2),
    sim.twice,
    sim.restart,
    sim.rubbish(3000),
    sim.around(before=b"\x00\x55\x0d\x40\x12"),
    sim.late(0.1),  # within the time-out, as a meter's answers are: later ones answer the round before
    sim.late(0.2),
    *(sim.FAULTS[name] for name in ("register", "address", "cid", "lengths", "empty")),
]
TROUBLES = [
    fake.answers(200, b'{"status":"ERR"}'),
    fake.answers(401),
    fake.answers(502, b"<html>"),
    fake.answers(200, b"OK"),
    lambda handler: True,  # breaks off
]


class Soak:
    """The meter, Domoticz, and what came of each round."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.meter = sim.KmpMeter(always=self.line_fault, rest=0)
        self.domoticz = fake.FakeDomoticz(trouble=self.trouble)
        self.codes: Counter[int] = Counter()
        self.wrong: list[str] = []

    def line_fault(self, meter: sim.KmpMeter, request: bytes, answer: bytes) -> sim.Chunks:
        fault = self.rng.choice(LINE_FAULTS) if self.rng.random() < 0.3 else sim.right
        return fault(meter, request, answer)

    def trouble(self, handler: fake.Handler) -> bool:
        return self.rng.random() < 0.2 and bool(self.rng.choice(TROUBLES)(handler))

    def round(self, number: int) -> None:
        self.meter.registers[60] = (8, 0x43, (16_000_000 + 7 * number).to_bytes(4, "big"))
        svalue = f"{16_000_000 + 7 * number}"
        pushed = len(self.domoticz.pushes)
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            push = ["60", "12", "--multiply", "1000", "--url", self.domoticz.url]
            code = kr.main([self.meter.port, *push, "--wait", "0", "--timeout", "0.4"])
        self.codes[code] += 1
        new = self.domoticz.pushes[pushed:]
        told = err.getvalue()
        if code == 0 and (new != [("12", svalue)] or told):
            self.wrong.append(f"round {number}: {new} in place of {svalue}, {told}")
        if code != 0 and (new or not told.startswith("kamstrup_read: ") or told.count("\n") != 1):
            self.wrong.append(f"round {number}: exit code {code}, {new}, {told}")
        if code not in (0, 4, 5, 6, 7):
            self.wrong.append(f"round {number}: exit code {code}")


def handles_and_memory() -> tuple[int, int]:
    """Open files, and MiB of memory at the most so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return len(os.listdir("/proc/self/fd")), peak // 1024


def run(rounds: int, seed: int) -> Soak:
    soak = Soak(seed)
    with soak.meter, soak.domoticz:
        for number in range(rounds):
            if number == rounds // 10:
                begun = handles_and_memory()
            soak.round(number)
        until = time.monotonic() + 3  # the stand-in may still be closing its end of the last connections
        while handles_and_memory()[0] > begun[0] and time.monotonic() < until:
            time.sleep(0.05)
        ended = handles_and_memory()
    shown = Decimal(soak.domoticz.svalues["12"] or 0)
    print(f"{rounds} rounds, exit codes {dict(sorted(soak.codes.items()))}, last value {shown}")
    print(f"open files {begun[0]} -> {ended[0]}, peak memory {begun[1]} -> {ended[1]} MiB")
    if ended[0] > begun[0]:
        soak.wrong.append("open files grew")
    if ended[1] > begun[1] + 8:
        soak.wrong.append("memory grew")
    return soak


def main() -> int:
    parser = argparse.ArgumentParser(description="Read and push for a long time with faults at random.")
    parser.add_argument("--rounds", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    wrong = run(args.rounds, args.seed).wrong
    for line in wrong[:20]:
        print(line)
    print(f"{len(wrong)} things went wrong" if wrong else "nothing went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
