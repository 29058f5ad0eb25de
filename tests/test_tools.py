"""The tools of this folder, in short: soak.py, benchmark.py (damage.py: test_frames)."""

from __future__ import annotations

import benchmark
import simulated_meter as sim
import soak
from program import command


def test_soak():
    """A part of the rounds that `python tests/soak.py` has."""
    done = soak.run(rounds=16, seed=3)
    assert done.wrong == []
    assert done.codes[0] > 3
    assert len(done.codes) >= 3


def test_the_benchmark_finds_what_the_program_imports():
    with sim.KmpMeter() as meter:
        modules = benchmark.imports_of(command(meter.port, 60)[1:])
    assert {"argparse", "decimal"} <= set(modules)
