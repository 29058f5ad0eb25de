#!/usr/bin/env python3
"""Damage responses at random, decode them, and count the wrong values that get through.

    python tests/damage.py                 a million damaged responses, some minutes

A CRC of 16 bits finds every single wrong bit and every burst of wrong bits up to 16 long: none of
these may get through. Of other damage it misses 2^-16, 1 in 65,536; the other checks (stuffing,
lengths, register id) catch most of that too.
"""

from __future__ import annotations

import argparse
import pathlib
import random
import sys
from collections import Counter
from typing import Callable

import simulated_meter as sim

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import kamstrup_read as kr

Damage = Callable[[random.Random, bytes], bytes]


def burst(rng: random.Random, frame: bytes, bits: int) -> bytes:
    """Flip the first and last bit of a stretch of so many bits, and any between."""
    first = rng.randrange(8 * len(frame) - bits + 1)
    pattern = 1 if bits == 1 else 1 << bits - 1 | rng.getrandbits(bits) & ~1 | 1
    number = int.from_bytes(frame, "big") ^ pattern << 8 * len(frame) - first - bits
    return number.to_bytes(len(frame), "big")


def burst_inside(rng: random.Random, frame: bytes, bits: int) -> bytes:
    """A burst in what the CRC is about: all between start and stop, before it is stuffed."""
    damaged = burst(rng, kr.unstuff(frame[1:-1]), bits)
    return b"\x40" + kr.stuff(damaged) + b"\x0d"


def dropped(rng: random.Random, frame: bytes) -> bytes:
    at = rng.randrange(len(frame))
    return frame[:at] + frame[at + rng.randint(1, 3) :]


def doubled(rng: random.Random, frame: bytes) -> bytes:
    at = rng.randrange(len(frame))
    return frame[: at + 1] + frame[at:]


def swapped(rng: random.Random, frame: bytes) -> bytes:
    at = rng.randrange(len(frame) - 1)
    return frame[:at] + frame[at + 1 : at + 2] + frame[at : at + 1] + frame[at + 2 :]


def cut(rng: random.Random, frame: bytes) -> bytes:
    return frame[: rng.randrange(len(frame))]


def glued(rng: random.Random, frame: bytes) -> bytes:
    return frame[: rng.randrange(len(frame))] + frame[rng.randrange(len(frame)) :]


def garbled(rng: random.Random, frame: bytes) -> bytes:
    at, length = rng.randrange(len(frame)), rng.randint(3, 8)
    return frame[:at] + bytes(rng.randrange(256) for _ in range(length)) + frame[at + length :]


PROMISED: dict[str, Damage] = {
    "one bit on the line": lambda rng, frame: burst(rng, frame, 1),
    "one bit of the content": lambda rng, frame: burst_inside(rng, frame, 1),
    "burst in the content": lambda rng, frame: burst_inside(rng, frame, rng.randint(2, 16)),
}
OTHER: dict[str, Damage] = {
    "burst on the line": lambda rng, frame: burst(rng, frame, rng.randint(2, 16)),
    "bytes dropped": dropped,
    "byte doubled": doubled,
    "bytes swapped": swapped,
    "cut": cut,
    "two frames glued": glued,
    "bytes garbled": garbled,
}


def response(rng: random.Random) -> tuple[list[int], bytes]:
    """A response to a request for some registers, values at random, escapes among them."""
    ids = rng.sample(sorted(sim.example()), rng.choice((1, 1, 1, 2, 8)))
    blocks = b""
    for register in ids:
        length = rng.choice((1, 2, 4, 4, 4, 8))
        value = bytes(rng.choice((rng.randrange(256), *sim.STUFFED)) for _ in range(length))
        blocks += sim.block(
            register, rng.choice((2, 3, 8, 40)), rng.choice((0x43, 0x42, 0xC1, 0)), value
        )
    return ids, sim.frame(0x40, b"\x3f\x10" + blocks)


def run(number: int, seed: int) -> tuple[Counter[str], Counter[str]]:
    """How many responses were damaged in each way, and how many of them brought a wrong value."""
    rng = random.Random(seed)
    kinds = {**PROMISED, **OTHER}
    done: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    while sum(done.values()) < number:
        ids, frame = response(rng)
        right = kr.decode_response(frame, ids)
        for kind, damage in kinds.items():
            received = damage(rng, frame)
            if received == frame:
                continue
            done[kind] += 1
            for found in kr.find_frames(received):
                try:
                    blocks = kr.decode_response(found, ids)
                except kr.DamagedResponseError:
                    continue
                wrong[kind] += any(right[register] != block for register, block in blocks.items())
                break
    return done, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    done, wrong = run(args.number, args.seed)
    for kind, number in done.items():
        print(f"{kind:<38} {number:>9} damaged {wrong[kind]:>4} wrong values accepted")
    other = sum(done[kind] for kind in OTHER)
    accepted = sum(wrong[kind] for kind in OTHER)
    print(f"where the CRC promises to find all: {sum(wrong[kind] for kind in PROMISED)} accepted")
    bare = other / 65536
    print(f"elsewhere: {accepted} accepted of {other}; a bare CRC would accept some {bare:.1f}")
    return 1 if any(wrong[kind] for kind in PROMISED) else 0


if __name__ == "__main__":
    sys.exit(main())
