#!/usr/bin/env python3
"""Read and push for thousands of rounds, with faults of the line and of Domoticz at random.

    python tests/soak.py                   3,000 rounds, some minutes

The meter counts up from round to round, so a value of another round is a wrong one. No wrong value
may be pushed, each failure must be reported in one line, and neither memory nor open files may
grow.
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
from collections import Counter

import fake_domoticz as fake
import simulated_meter as sim
from program import PREFIX, wait_until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
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
    sim.late(0.2),
    *(sim.FAULTS[name] for name in ("register", "address", "cid", "lengths", "empty")),
]
TROUBLES = [
    fake.answers(200, b'{"status":"ERR"}'),
    fake.answers(401),
    fake.answers(502, b"<html>"),
    fake.answers(200, b"OK"),
    fake.breaks_off,
]
LINE_FAULT_RATE = 0.3
TROUBLE_RATE = 0.2
FIRST_VALUE, STEP = 16_000_000, 7  # what the meter counts from, and by
MEMORY_LIMIT = 8  # MiB more than after the first tenth of the rounds


class Soak:
    """The meter, Domoticz, and what came of each round."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.meter = sim.KmpMeter(always=self._line_fault, rest=0)
        self.domoticz = fake.FakeDomoticz(trouble=self._trouble)
        self.codes: Counter[int] = Counter()
        self.wrong: list[str] = []

    def _line_fault(self, meter: sim.Line, request: bytes, response: bytes) -> sim.Chunks:
        is_faulty = self.random.random() < LINE_FAULT_RATE
        fault = self.random.choice(LINE_FAULTS) if is_faulty else sim.right
        return fault(meter, request, response)

    def _trouble(self, handler: fake.Handler) -> bool:
        return self.random.random() < TROUBLE_RATE and self.random.choice(TROUBLES)(handler)

    def round(self, number: int) -> None:
        """Push the value of this round, and check what came of it."""
        value = FIRST_VALUE + STEP * number
        self.meter.registers[60] = (8, 0x43, value.to_bytes(4, "big"))
        pushes_before = len(self.domoticz.pushes)
        push = [self.meter.port, "60", "12", "--url", self.domoticz.url]
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            code = kr.main([*push, "--wait", "0", "--timeout", "0.4"])
        self.meter.wait_until_idle()  # a late response would be one of the wrong round
        self.codes[code] += 1
        pushes = self.domoticz.pushes[pushes_before:]
        report = stderr.getvalue()
        if code == 0:
            is_right = (pushes, report) == ([("12", str(value))], "")
        else:
            is_one_line = report.startswith(PREFIX) and report.count("\n") == 1
            is_right = pushes == [] and is_one_line and code in (4, 5, 6, 7)
        if not is_right:
            self.wrong.append(f"round {number}: {value}, exit code {code}, {pushes}, {report!r}")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def peak_memory() -> int:  # MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def run(rounds: int, seed: int) -> Soak:
    soak = Soak(seed)
    with soak.meter, soak.domoticz:
        for number in range(rounds):
            if number == rounds // 10:
                files_before, memory_before = open_files(), peak_memory()
            soak.round(number)
        # The stand-in may be about to close its end of the last connections.
        wait_until(lambda: open_files() <= files_before)
        memory = peak_memory()
    print(f"{rounds} rounds, exit codes {dict(sorted(soak.codes.items()))}")
    print(f"peak memory {memory_before} -> {memory} MiB")
    if memory > memory_before + MEMORY_LIMIT:
        soak.wrong.append("memory grew")
    return soak


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    options = parser.parse_args()
    wrong = run(options.rounds, options.seed).wrong
    print(f"{len(wrong)} things went wrong", *wrong[:20], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
