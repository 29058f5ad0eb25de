#!/usr/bin/env python3
"""Measure start-up, memory, and time compared to the time on the wire, against their aims.

    python tests/benchmark.py

The meter is simulated in a process of its own. Figures are medians of several runs, and ratios
within one run of the benchmark, as computers are not equally fast at all times. Ends with exit
code 1 where an aim is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

import fake_domoticz as fake
import simulated_meter as sim
from program import PROGRAM, command, environment

sys.path.insert(0, str(PROGRAM.parent))
import kamstrup_read as kr

SIMULATED_METER = pathlib.Path(__file__).resolve().parent / "simulated_meter.py"
BYTE_TIME = sim.BITS_PER_CHARACTER / 1200  # s on the wire
JOBS = 20
# What a small process does to measure a program's peak memory in KiB: its own does not count.
STARTER = """
import os, sys
pid = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
status, usage = os.wait4(pid, 0)[1:]
print(usage.ru_maxrss)
sys.exit(status != 0)
"""


class Figure(NamedTuple):
    name: str
    value: float
    aim: float

    @property
    def is_met(self) -> bool:
        return round(self.value, 2) <= self.aim

    def __str__(self) -> str:
        verdict = "met" if self.is_met else "MISSED"
        return f"{self.name:<54} {self.value:6.2f}   aim {self.aim:<5g} {verdict}"


@contextlib.contextmanager
def simulated_meter(*options: str) -> Iterator[str]:
    """A simulated meter in its own process; its port."""
    with tempfile.TemporaryDirectory() as folder:
        port = os.path.join(folder, "meter")
        call = [sys.executable, str(SIMULATED_METER), "--link", port, *options]
        with subprocess.Popen(call, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                yield port
            finally:
                process.terminate()


def run(call: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command that must not fail."""
    done = subprocess.run(
        call, env=environment(), capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise SystemExit(f"benchmark.py: {' '.join(call)}\n{done.stderr}")
    return done


def seconds_of(call: list[str]) -> float:
    begin = time.perf_counter()
    run(call)
    return time.perf_counter() - begin


def median_seconds(call: list[str], runs: int) -> float:
    seconds_of(call)  # the first one may have to read files from the disk
    return statistics.median(seconds_of(call) for _ in range(runs))


def memory_of(call: list[str]) -> float:
    """Peak memory in MiB."""
    return int(run([sys.executable, "-S", "-c", STARTER, *call]).stdout.split()[-1]) / 1024


def imports_of(arguments: list[str]) -> list[str]:
    """The modules that a call of Python imports itself, in order."""
    report = run([sys.executable, "-X", "importtime", *arguments]).stderr
    # import time: self [us] | cumulative | name; a name that another module imports is indented.
    return re.findall(r"^import time:[ 0-9]+\|[ 0-9]+\| (\w+)$", report, re.MULTILINE)


def start_up(port: str, runs: int) -> float:
    """The whole process, compared to an interpreter that imports the same and does nothing."""
    call = command(port, 60)
    modules = [name for name in imports_of(call[1:]) if name not in imports_of(["-c", ""])]
    bare = [sys.executable, "-c", f"import {', '.join(modules)}"]
    pairs = [(seconds_of(call), seconds_of(bare)) for _ in range(runs + 1)][1:]
    ours, theirs = (statistics.median(seconds) for seconds in zip(*pairs))
    print(f"start-up: {1000 * ours:.0f} ms, and {1000 * theirs:.0f} ms for {bare[-1]}")
    return ours / theirs


def wire_time(*requests: list[int]) -> float:
    """Seconds that requests for these registers and their responses are on the wire."""
    registers = sim.example()
    size = 0
    for request in requests:
        blocks = b"".join(sim.block(i, *registers[i]) for i in request if i in registers)
        size += len(kr.encode_request(request)) + len(sim.frame(0x40, b"\x3f\x10" + blocks))
    return size * BYTE_TIME


def print_only(port: str, runs: int) -> float:
    return median_seconds(command(port, 60), runs) / wire_time([60])


def all_registers(port: str) -> float:
    known = list(kr.known_registers())
    size = kr.REGISTERS_PER_REQUEST
    groups = [known[start : start + size] for start in range(0, len(known), size)]
    return median_seconds(command(port, "all"), 1) / wire_time(*groups)


def push(port: str, runs: int) -> float:
    with fake.FakeDomoticz() as domoticz:
        call = command(port, 60, 12, "--multiply", 1000, "--url", domoticz.url)
        return median_seconds(call, runs) / wire_time([60])


def jobs_at_once(port: str) -> float:
    """All of them together, compared to that many times one."""
    call = command(port, 60, "--wait", 60)
    one = median_seconds(call, 5)
    begin = time.perf_counter()
    jobs = [subprocess.Popen(call, stdout=subprocess.DEVNULL) for _ in range(JOBS)]
    if sum([job.wait() for job in jobs]):
        raise SystemExit("benchmark.py: one of the jobs failed")
    return (time.perf_counter() - begin) / (JOBS * one)


def measure(runs: int) -> Iterator[Figure]:
    with simulated_meter("--fast") as port:
        start = start_up(port, 2 * runs)
        yield Figure("start-up, print only / interpreter with its imports", start, 1.5)
        yield Figure("peak memory, print only (MiB)", memory_of(command(port, 60)), 16)
    with simulated_meter() as port:
        yield Figure("print only / wire", print_only(port, runs), 1.3)
        yield Figure("all / wire", all_registers(port), 1.15)
        yield Figure("push, cold / wire", push(port, runs), 1.5)
        yield Figure(f"{JOBS} jobs at once / {JOBS} x one job", jobs_at_once(port), 1.3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=51, help="default: %(default)s")
    runs = parser.parse_args().runs
    print(f"Python {platform.python_version()}, medians of {runs} runs")
    missed = 0
    for figure in measure(runs):
        print(figure, flush=True)
        missed += not figure.is_met
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
