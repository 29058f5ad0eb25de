#!/usr/bin/env python3
"""Measure start-up, memory, and time beside the time on the wire; as ratios, within one run.

    python tests/benchmark.py

The meter is simulated in a process of its own. Each figure is the median of several runs, which take turns
with what they are compared to, as computers are not equally fast at all times.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import fake_domoticz as fake
import simulated_meter as sim

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import kamstrup_read as kr  # noqa: E402

PROGRAM = [sys.executable, str(ROOT / "kamstrup_read.py")]
BARE = [sys.executable, "-c", "import argparse, decimal, serial"]
BYTE = sim.BITS / 1200  # s on the wire


@contextlib.contextmanager
def meter(*options: str) -> Iterator[str]:
    """A simulated meter in its own process; its port."""
    with tempfile.TemporaryDirectory() as folder:
        port = os.path.join(folder, "meter")
        command = [sys.executable, str(ROOT / "tests" / "simulated_meter.py"), "--link", port, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                yield port
            finally:
                process.terminate()


def timed(command: list[str]) -> float:
    """Seconds that a command takes."""
    begun = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def memory_of(command: list[str]) -> float:
    """Peak MiB of a command. A small process starts it: what this one has would count as the command's."""
    starter = "import os, sys; p = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:]); print(os.wait4(p, 0)[2][2])"
    done = subprocess.run([sys.executable, "-S", "-c", starter, *command], capture_output=True, check=True)
    return int(done.stdout.split()[-1]) / 1024


def median_of(command: list[str], runs: int) -> float:
    timed(command)
    return statistics.median(timed(command) for _ in range(runs))


def wire_time(*groups: list[int]) -> float:
    """Seconds that the requests for groups of registers and the example meter's answers take on the wire."""
    registers = sim.example()
    size = 0
    for group in groups:
        blocks = b"".join(sim.block(i, *registers[i]) for i in group if i in registers)
        size += len(kr.encode_request(group)) + len(sim.frame(0x40, b"\x3f\x10" + blocks))
    return size * BYTE


def start_up(runs: int) -> tuple[float, float]:
    """The whole process, as a multiple of a bare interpreter with the same imports; and its MiB."""
    with meter("--fast") as port:
        command = [*PROGRAM, port, "60"]
        pairs = [(timed(command), timed(BARE)) for _ in range(2 * runs)]
        memory = memory_of(command)
    return statistics.median(ours for ours, _ in pairs) / statistics.median(bare for _, bare in pairs), memory


def print_only(port: str, runs: int) -> float:
    return median_of([*PROGRAM, port, "60"], runs) / wire_time([60])


def all_registers(port: str) -> float:
    known = list(kr.known_registers())
    groups = [known[at : at + 8] for at in range(0, len(known), 8)]
    return median_of([*PROGRAM, port, "all"], 1) / wire_time(*groups)


def push(port: str, runs: int) -> float:
    with fake.FakeDomoticz() as domoticz:
        command = [*PROGRAM, port, "60", "12", "--multiply", "1000", "--url", domoticz.url]
        return median_of(command, runs) / wire_time([60])


def jobs_at_once(port: str, jobs: int) -> float:
    """All of them together, as a multiple of that many times one."""
    command = [*PROGRAM, port, "60", "--wait", "60"]
    one = median_of(command, 5)
    begun = time.perf_counter()
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(jobs)]
    if sum(process.wait() for process in processes):
        raise SystemExit("one of the jobs failed")
    return (time.perf_counter() - begun) / (jobs * one)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the reader against the wire and a bare interpreter.")
    parser.add_argument("--runs", type=int, default=51)
    runs = parser.parse_args().runs
    start, memory = start_up(runs)
    rows = [
        ("start-up, print only / interpreter with its imports", start, 1.5),
        ("peak memory, print only (MiB)", memory, 16),
    ]
    with meter() as port:
        rows += [
            ("print only / wire", print_only(port, runs), 1.3),
            ("all / wire", all_registers(port), 1.15),
            ("push, cold / wire", push(port, runs), 1.5),
            ("20 jobs at once / 20 x one job", jobs_at_once(port, 20), 1.3),
        ]
    print(f"Python {platform.python_version()}, {runs} runs, medians")
    for name, figure, aim in rows:
        print(f"{name:<54} {figure:6.2f}   aim {aim:<5} {'met' if figure <= aim else 'MISSED'}")
    return 0 if all(figure <= aim for _, figure, aim in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
