"""Frames: CRC, stuffing, requests, answers; against recorded frames and generated ones."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
import simulated_meter as sim
from hypothesis import given
from hypothesis import strategies as st

import kamstrup_read as kr

FRAMES = json.loads((pathlib.Path(__file__).parent / "data" / "kmp-frames.json").read_text())
GET_REGISTER = [row for row in FRAMES if row["decoded"].get("cid") == "0x10"]
REQUESTS = [row for row in GET_REGISTER if row["direction"] == "request"]
SOUND = [row for row in GET_REGISTER if row["direction"] == "response" and row["crc_ok"]]
DAMAGED = [row for row in GET_REGISTER if row["direction"] == "response" and not row["crc_ok"]]

REGISTER_IDS = st.integers(0, 0xFFFF)
VALUES = st.binary(min_size=1, max_size=12) | st.lists(
    st.sampled_from([*list(kr.RESERVED), 228, 127, 249]), min_size=1, max_size=8
).map(bytes)


def wire(row: dict) -> bytes:
    return bytes.fromhex(row["wire_hex"])


def names(rows: list) -> list[str]:
    return [f"{row['meter']}: {row['wire_hex'][:24]}" for row in rows]


WHOLE = [row for row in FRAMES if row["crc_ok"] and row["direction"] != "ack"]


def test_there_are_recorded_frames_of_each_kind():
    assert (len(REQUESTS), len(SOUND), len(DAMAGED)) == (14, 18, 1)


@pytest.mark.parametrize("row", WHOLE, ids=names(WHOLE))
def test_recorded_frames_have_a_crc_of_0_over_themselves(row):
    assert kr.crc(kr.unstuff(wire(row)[1:-1])) == b"\0\0"


@pytest.mark.parametrize("row", REQUESTS, ids=names(REQUESTS))
def test_requests_equal_the_recorded_ones_byte_for_byte(row):
    assert kr.encode_request(row["decoded"]["registers"]) == wire(row)


@pytest.mark.parametrize("row", SOUND, ids=names(SOUND))
def test_recorded_answers_decode_to_their_known_values(row):
    registers = row["decoded"]["registers"]
    blocks = kr.decode_answer(wire(row), [register["id"] for register in registers])
    readings = [kr.decode_block(*item) for item in blocks.items()]
    assert [reading.register for reading in readings] == [register["id"] for register in registers]
    for reading, register in zip(readings, registers):
        assert str(reading.value) == register.get("text", register["value"]) or (
            f"{reading.value:f}" == register["value"]
        )
        unit = "" if "text" in register or register["unit"] == "number" else register["unit"]
        assert reading.unit == unit


@pytest.mark.parametrize("row", DAMAGED, ids=names(DAMAGED))
def test_recorded_answer_with_a_misprinted_crc_is_refused(row):
    with pytest.raises(kr.Damaged, match="CRC"):
        kr.decode_answer(wire(row), [128])


@pytest.mark.parametrize("number", [0, 9])
def test_a_request_holds_1_to_8_registers(number):
    with pytest.raises(ValueError, match="1 to 8"):
        kr.encode_request(range(number))


@given(st.binary())
def test_unstuffing_undoes_stuffing(data):
    stuffed = kr.stuff(data)
    assert kr.unstuff(stuffed) == data
    assert not set(stuffed) & (set(kr.RESERVED) - {kr.ESCAPE})


@pytest.mark.parametrize("reserved", kr.RESERVED)
@pytest.mark.parametrize("place", range(4))
def test_each_reserved_byte_in_each_place_of_a_value(reserved, place):
    value = bytes(reserved if at == place else 0x11 for at in range(4))
    frame = sim.frame(0x40, b"\x3f\x10" + sim.block(60, 8, 0x43, value))
    assert kr.decode_answer(frame, [60]) == {60: (8, 0x43, value)}


@pytest.mark.parametrize("value", ["1BE47F", "1BF9", "1B1B", "1B7FE4", "80400D061B"])
def test_bytes_that_look_like_escapes_in_a_value(value):
    raw = bytes.fromhex(value)
    frame = sim.frame(0x40, b"\x3f\x10" + sim.block(60, 8, 0, raw))
    assert kr.decode_answer(frame, [60]) == {60: (8, 0, raw)}


@given(st.lists(st.tuples(REGISTER_IDS, st.integers(0, 255), st.integers(0, 255), VALUES), max_size=8))
def test_generated_answers_of_the_other_implementation(blocks):
    unique = {block[0]: block for block in blocks}
    content = b"\x3f\x10" + b"".join(sim.block(*block) for block in unique.values())
    expected = {register: tuple(block) for register, *block in unique.values()}
    assert kr.decode_answer(sim.frame(0x40, content), list(unique)) == expected


@given(st.lists(REGISTER_IDS, min_size=1, max_size=8))
def test_the_other_implementation_reads_our_requests(registers):
    content = sim.content_of(kr.encode_request(registers), 0x80)
    ids = b"".join(register.to_bytes(2, "big") for register in registers)
    assert content == bytes((0x3F, 0x10, len(registers))) + ids


def answer(content: str) -> bytes:
    return sim.frame(0x40, bytes.fromhex(content))


GOOD = "3F10 003C 08 04 43 00003F6B"


@pytest.mark.parametrize(
    ("frame", "error", "what"),
    [
        (b"", kr.Damaged, "start or no stop"),
        (b"\x40\x0d", kr.Damaged, "CRC"),
        (b"\x40\x00\x00\x0d", kr.Damaged, "CRC"),
        (answer(GOOD)[1:], kr.Damaged, "start or no stop"),
        (answer(GOOD)[:-1], kr.Damaged, "start or no stop"),
        (b"\x80" + answer(GOOD)[1:], kr.Damaged, "start or no stop"),
        (b"\x40\x3f\x10\x1b\x55\x00\x00\x0d", kr.Damaged, "escape"),
        (b"\x40\x3f\x10\x00\x1b\x0d", kr.Damaged, "escape"),
        (b"\x40\x3f\x80\x10\x00\x0d", kr.Damaged, "without an escape"),
        (b"\x40\x3f\x06\x10\x00\x0d", kr.Damaged, "without an escape"),
        (answer("3E10 003C 08 04 43 00003F6B"), kr.OtherAnswer, "3e10"),
        (answer("3F02 01234567"), kr.OtherAnswer, "3f02"),
        (answer("3F10 003D 08 04 43 00003F6B"), kr.OtherAnswer, "register 61"),
        (answer("3F10 003C 08 05 43 00003F6B"), kr.Damaged, "lengths"),
        (answer("3F10 003C 08 03 43 00003F6B"), kr.Damaged, "lengths"),
        (answer("3F10 003C 08 00 43"), kr.Damaged, "lengths"),
        (answer("3F10 003C 08 04"), kr.Damaged, "lengths"),
        (answer(GOOD + "00"), kr.Damaged, "lengths"),
        (answer(GOOD + GOOD[4:]), kr.Damaged, "add up"),
    ],
)
def test_everything_else_is_refused(frame, error, what):
    with pytest.raises(error, match=re.escape(what)):
        kr.decode_answer(frame, [60])


def test_a_register_that_the_meter_lacks_is_left_out():
    assert kr.decode_answer(answer("3F10"), [60]) == {}
    assert list(kr.decode_answer(answer(GOOD), [59, 60])) == [60]


def test_frames_are_found_between_echo_and_noise():
    good = answer(GOOD)
    echo = kr.encode_request([60])
    assert kr.find_frames(good) == [good]
    assert kr.find_frames(echo + b"\0" + good + b"\x55") == [good]
    assert kr.find_frames(good[:6] + good) == [good]
    assert kr.find_frames(good + good[:-1]) == [good]
    assert kr.find_frames(b"\x0d\x0d\x55\x0d") == []


@given(st.binary(max_size=60))
def test_arbitrary_bytes_bring_only_the_modules_own_errors(data):
    for frame in kr.find_frames(data + kr.STOP):
        try:
            kr.decode_answer(frame, [60])
        except kr.TryFailed:
            continue


@given(st.binary(min_size=2, max_size=40))
def test_arbitrary_bytes_with_a_right_crc_bring_only_the_modules_own_errors(content):
    try:
        blocks = kr.decode_answer(sim.frame(0x40, content), range(0x10000))
    except kr.TryFailed:
        return
    for register, block in blocks.items():
        reading = kr.decode_block(register, block)
        assert re.fullmatch(r"[ -~]*", str(reading))
