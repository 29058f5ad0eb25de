"""KMP frames: recorded ones, generated ones, damaged ones.

situation                                        test
------------------------------------------------ ---------------------------------------------
recorded frames of real meters                   test_recorded_...
generated ones                                   test_the_other_..., test_generated_...
size of a request                                test_a_request_...
stuffing, undone in one pass                     test_unstuffing_..., test_bytes_that_look_like_...
anything but a sound response to the request     test_everything_else_...
echo, noise, late responses beside it            test_frames_are_..., test_the_first_valid_...
one wrong bit; a million damaged responses       test_one_wrong_bit_..., test_damage_at_scale
"""

from __future__ import annotations

import json
import pathlib

import damage
import pytest
import simulated_meter as sim
from hypothesis import given
from hypothesis import strategies as st

import kamstrup_read as kr

FRAMES = json.loads((pathlib.Path(__file__).parent / "data" / "kmp-frames.json").read_text())
GET_REGISTER = [row for row in FRAMES if row["decoded"].get("cid") == "0x10"]
REQUESTS = [row for row in GET_REGISTER if row["direction"] == "request"]
RESPONSES = [row for row in GET_REGISTER if row["direction"] == "response" and row["crc_ok"]]
OTHERS = [row for row in FRAMES if row not in REQUESTS and row not in RESPONSES]

RESERVED = bytes(sim.STUFFED)
REGISTER_IDS = st.integers(0, 0xFFFF)
ESCAPES = st.lists(st.sampled_from([*RESERVED, *sim.PLAIN]), min_size=1, max_size=8).map(bytes)
VALUES = st.binary(min_size=1, max_size=12) | ESCAPES
BLOCKS = st.dictionaries(
    REGISTER_IDS, st.tuples(st.integers(0, 255), st.integers(0, 255), VALUES), max_size=8
)


def wire(row: dict) -> bytes:
    return bytes.fromhex(row["wire_hex"])


def name(row: dict) -> str:
    return f"{row['meter']}: {row['wire_hex'][:24]}"


def response(content: str) -> bytes:
    """A frame from the meter with a right CRC."""
    return sim.frame(0x40, bytes.fromhex(content))


HEAT = "3F10 003C 08 04 43 00003F6B"
GOOD = response(HEAT)
GOOD_BLOCK = kr.Block(8, 0x43, b"\x00\x00\x3f\x6b")
OTHER = response("3F10 003D 08 04 43 00003F6B")


# Recorded frames


@pytest.mark.parametrize("row", REQUESTS, ids=name)
def test_recorded_requests_are_sent_byte_for_byte(row):
    assert kr.encode_request(row["decoded"]["registers"]) == wire(row)


@pytest.mark.parametrize("row", RESPONSES, ids=name)
def test_recorded_responses_have_their_known_values(row):
    expected = []
    for known in row["decoded"]["registers"]:
        unit = "" if "text" in known or known["unit"] == "number" else known["unit"]
        expected.append((known["id"], known.get("text", known["value"]), unit))
    blocks = kr.find_response(wire(row), [register for register, _, _ in expected])
    readings = [kr.decode_block(*item) for item in blocks.items()]
    assert [(reading.register, reading.digits, reading.unit) for reading in readings] == expected


@pytest.mark.parametrize("row", OTHERS, ids=name)
def test_recorded_frames_of_other_kinds_or_with_a_wrong_crc_are_refused(row):
    with pytest.raises(kr.DamagedResponseError):
        kr.decode_response(wire(row), range(0x10000))


# Generated frames


@given(st.lists(REGISTER_IDS, min_size=1, max_size=8))
def test_the_other_implementation_understands_our_requests(registers):
    request = kr.encode_request(registers)
    ids = b"".join(register.to_bytes(2, "big") for register in registers)
    assert sim.content_of(request, 0x80) == bytes((0x3F, 0x10, len(registers))) + ids


@given(BLOCKS)
def test_generated_responses_of_the_other_implementation_are_decoded(blocks):
    content = b"".join(sim.block(register, *rest) for register, rest in blocks.items())
    frame = sim.frame(0x40, b"\x3f\x10" + content)
    decoded = kr.decode_response(frame, list(blocks))
    assert decoded == blocks
    assert list(decoded) == list(blocks)


@given(st.binary())
def test_unstuffing_undoes_stuffing(data):
    stuffed = kr.stuff(data)
    assert kr.unstuff(stuffed) == data
    assert not set(stuffed) & set(RESERVED.replace(b"\x1b", b""))


@pytest.mark.parametrize("value", ["1BE47F", "1BF9", "1B1B", "1B7FE4", "80400D061B"])
def test_bytes_that_look_like_escapes_in_a_value(value):
    raw = bytes.fromhex(value)
    frame = sim.frame(0x40, b"\x3f\x10" + sim.block(60, 8, 0x43, raw))
    assert kr.decode_response(frame, [60]) == {60: (8, 0x43, raw)}


def test_a_request_has_at_most_eight_registers():
    """5512-447, section 6.2.4."""
    with sim.KmpMeter() as simulated, kr.Meter(simulated.port) as meter:
        assert list(meter.read_all())
    assert max(map(len, simulated.requests)) <= 8


def test_registers_that_the_meter_lacks_are_left_out():
    assert kr.decode_response(response("3F10"), [60]) == {}
    assert kr.decode_response(GOOD, [59, 60, 61]) == {60: GOOD_BLOCK}


# Damage


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        (b"", "address or CID"),
        (GOOD[1:], "CRC"),
        (GOOD[:-1], "CRC"),
        (GOOD + GOOD, "not escaped"),
        (b"\x40\x0d", "damaged"),
        (b"\x40\x00\x00\x0d", "damaged"),  # whose CRC is right
        (sim.frame(0x40, b"\x3f"), "damaged"),
        (sim.frame(0x40, b""), "damaged"),
        (sim.frame(0x40, bytes.fromhex(HEAT), crc_error=1), "CRC"),
        (sim.frame(0x40, bytes.fromhex(HEAT), crc_error=0x100), "CRC"),
        (b"\x40\x3f\x10\x1b\x55\x00\x00\x0d", "not escaped"),  # no reserved byte is escaped
        (b"\x40\x3f\x10\x00\x1b\x0d", "not escaped"),  # the escaped byte is missing
        (b"\x40\x3f\x80\x10\x00\x0d", "not escaped"),
        (b"\x40\x3f\x06\x10\x00\x0d", "not escaped"),
        (response("3E10 003C 08 04 43 00003F6B"), "address or CID"),
        (response("3F11 003C 08 04 43 00003F6B"), "address or CID"),
        (OTHER, "register 61 is not expected"),
        (response(f"{HEAT} {HEAT[5:]}"), "register 60 is not expected"),  # twice
        (response("3F10 003C 08 05 43 00003F6B"), "lengths"),
        (response("3F10 003C 08 00 43"), "lengths"),
        (response("3F10 003C 08 03 43 00003F6B"), "middle of a block"),
        (response("3F10 003C 08 04"), "middle of a block"),
        (response(f"{HEAT} 00"), "middle of a block"),
    ],
)
def test_everything_else_is_refused_with_its_cause(frame, what):
    with pytest.raises(kr.DamagedResponseError, match=what):
        kr.decode_response(frame, [60])
    assert kr.find_response(frame, [60]) is None or frame == GOOD + GOOD


def test_frames_are_found_between_echo_and_noise():
    echo = kr.encode_request([60])
    assert kr.find_frames(echo + b"\0" + GOOD + b"\x55" + OTHER) == [GOOD, OTHER]
    assert kr.find_frames(GOOD[:6] + GOOD + GOOD[:-1]) == [GOOD]
    assert kr.find_frames(b"\x40\x0d") == [b"\x40\x0d"]
    assert kr.find_frames(b"\x0d\x0d\x55\x0d\x40\n") == []


def test_the_first_valid_response_counts_and_others_are_passed_over():
    late = response("3F10 003C 08 04 43 00000001")
    bad = GOOD[:-3] + b"\x00\x00\x0d"
    assert kr.find_response(OTHER + bad + GOOD + late, [60]) == {60: GOOD_BLOCK}
    assert kr.find_response(bad + OTHER, [60]) is None
    assert kr.find_response(b"", [60]) is None
    assert kr.find_response(response("3F10") + GOOD, [60]) == {}


def test_one_wrong_bit_is_always_noticed():
    for at in range(len(GOOD)):
        for bit in range(8):
            wrong = bytearray(GOOD)
            wrong[at] ^= 1 << bit
            assert kr.find_response(bytes(wrong), [60]) is None, (at, bit)


@given(st.binary(max_size=60), st.booleans())
def test_any_content_is_decoded_to_the_last_byte_or_refused(content, has_header):
    frame = sim.frame(0x40, b"\x3f\x10" + content if has_header else content)
    blocks = kr.find_response(frame, range(0x10000))
    if blocks is not None:
        decoded = b"".join(
            sim.block(register, unit, sign_exponent, value)
            for register, (unit, sign_exponent, value) in blocks.items()
        )
        assert sim.content_of(frame, 0x40) == b"\x3f\x10" + decoded


def test_damage_at_scale():
    """Fewer responses than `python tests/damage.py` damages, with a fixed seed."""
    number = 42_000
    done, wrong = damage.run(number, seed=7)
    assert min(done[kind] for kind in damage.PROMISED) > number / 15
    assert sum(wrong[kind] for kind in damage.PROMISED) == 0
    assert sum(wrong.values()) <= 3  # 2^-16 of 29,000 would be half a one
