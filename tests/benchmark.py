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
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import fake_domoticz as fake
import simulated_meter as sim
from program import PROGRAM, command, environment

sys.path.insert(0, str(PROGRAM.parent))
import kamstrup_read as kr

JOBS = 20
# What a small process does to measure a program's peak memory in KiB: its own does not count.
STARTER = """
import os, sys
pid = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
status, usage = os.wait4(pid, 0)[1:]
print(usage.ru_maxrss)
sys.exit(status != 0)
"""


@contextlib.contextmanager
def simulated_meter(*options: str) -> Iterator[str]:
    """A simulated meter in its own process; its port."""
    call = [sys.executable, sim.__file__, *options]
    with subprocess.Popen(call, stdout=subprocess.PIPE, encoding="utf-8") as process:
        printed = process.stdout.readline()  # The meter is at /dev/pts/3. Ctrl-C stops it.
        try:
            yield printed.split()[4].rstrip(".")
        finally:
            process.terminate()


def run(call: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command that must not fail."""
    options = {"env": environment(), "capture_output": True, "encoding": "utf-8"}
    return subprocess.run(call, check=True, **options)


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
    return ours / theirs


def wire_time(*requests: list[int]) -> float:
    """Seconds that requests for these registers and their responses are on the wire."""
    registers = sim.example()
    size = 0
    for request in requests:
        blocks = b"".join(sim.block(i, *registers[i]) for i in request if i in registers)
        size += len(kr.encode_request(request)) + len(sim.frame(0x40, b"\x3f\x10" + blocks))
    return size * sim.BITS_PER_CHARACTER / 1200


def all_registers(port: str) -> float:
    known = list(kr.known_registers())
    size = kr.REGISTERS_PER_REQUEST
    groups = [known[start : start + size] for start in range(0, len(known), size)]
    return median_seconds(command(port, "all"), 1) / wire_time(*groups)


def jobs_at_once(port: str) -> float:
    """All of them together, compared to that many times one."""
    call = command(port, 60, "--wait", 60)
    one = median_seconds(call, 5)
    begin = time.perf_counter()
    jobs = [subprocess.Popen(call, stdout=subprocess.DEVNULL) for _ in range(JOBS)]
    assert [job.wait() for job in jobs] == [0] * JOBS
    return (time.perf_counter() - begin) / (JOBS * one)


def measure(runs: int) -> Iterator[tuple[str, float, float]]:
    """What is measured, the figure, and its aim."""
    with simulated_meter("--fast") as port:
        start = start_up(port, 2 * runs)
        yield "start-up, print only / interpreter with its imports", start, 1.5
        yield "peak memory, print only (MiB)", memory_of(command(port, 60)), 16
    with simulated_meter() as port:
        print_only = median_seconds(command(port, 60), runs)
        yield "print only / wire", print_only / wire_time([60]), 1.3
        yield "all / wire", all_registers(port), 1.15
        with fake.FakeDomoticz() as domoticz:
            push = median_seconds(command(port, 60, 12, "--url", domoticz.url), runs)
        yield "push with its two calls, cold / wire", push / wire_time([60]), 1.5
        yield f"{JOBS} jobs at once / {JOBS} x one job", jobs_at_once(port), 1.3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=51, help="default: %(default)s")
    runs = parser.parse_args().runs
    print(f"Python {platform.python_version()}, medians of {runs} runs")
    missed = 0
    for name, figure, aim in measure(runs):
        is_met = round(figure, 2) <= aim
        missed += not is_met
        verdict = "met" if is_met else "missed"
        print(f"{name:<54} {figure:6.2f}   aim {aim:<5g} {verdict}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
