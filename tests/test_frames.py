"""KMP frames: CRC, stuffing, requests and responses; recorded ones, generated ones, damaged ones.

what                                       test
------------------------------------------ ---------------------------------------------------
recorded frames of real meters             test_requests_equal_..., test_recorded_responses_...
stuffing, undone in one pass               test_unstuffing_..., test_bytes_that_look_like_escapes
everything that is not a sound response    test_everything_else_is_refused
one wrong bit, anywhere                    test_one_wrong_bit_is_always_noticed
a million damaged responses, in short      test_damage_at_scale
"""

from __future__ import annotations

import json
import pathlib
import re

import damage
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
def test_recorded_responses_decode_to_their_known_values(row):
    registers = row["decoded"]["registers"]
    blocks = kr.decode_response(wire(row), [register["id"] for register in registers])
    readings = [kr.decode_block(*item) for item in blocks.items()]
    assert [reading.register for reading in readings] == [register["id"] for register in registers]
    for reading, register in zip(readings, registers):
        assert str(reading.value) == register.get("text", register["value"]) or (
            f"{reading.value:f}" == register["value"]
        )
        unit = "" if "text" in register or register["unit"] == "number" else register["unit"]
        assert reading.unit == unit


@pytest.mark.parametrize("row", DAMAGED, ids=names(DAMAGED))
def test_recorded_response_with_a_misprinted_crc_is_refused(row):
    with pytest.raises(kr.DamagedResponseError, match="CRC"):
        kr.decode_response(wire(row), [128])


@pytest.mark.parametrize("number", [0, 9])
def test_a_request_holds_1_to_8_registers(number):
    with pytest.raises(ValueError, match="1 to 8"):
        kr.encode_request(range(number))


@given(st.binary())
def test_unstuffing_undoes_stuffing(data):
    stuffed = kr.stuff(data)
    assert kr.unstuff(stuffed) == data
    assert not set(stuffed) & (set(kr.RESERVED) - {kr.ESCAPE})


def test_each_reserved_byte_in_each_place_of_a_value():
    for reserved in kr.RESERVED:
        for place in range(4):
            value = bytes(reserved if at == place else 0x11 for at in range(4))
            frame = sim.frame(0x40, b"\x3f\x10" + sim.block(60, 8, 0x43, value))
            assert kr.decode_response(frame, [60]) == {60: (8, 0x43, value)}


@pytest.mark.parametrize("value", ["1BE47F", "1BF9", "1B1B", "1B7FE4", "80400D061B"])
def test_bytes_that_look_like_escapes_in_a_value(value):
    raw = bytes.fromhex(value)
    frame = sim.frame(0x40, b"\x3f\x10" + sim.block(60, 8, 0, raw))
    assert kr.decode_response(frame, [60]) == {60: (8, 0, raw)}


@given(
    st.lists(st.tuples(REGISTER_IDS, st.integers(0, 255), st.integers(0, 255), VALUES), max_size=8)
)
def test_generated_responses_of_the_other_implementation(blocks):
    unique = {block[0]: block for block in blocks}
    content = b"\x3f\x10" + b"".join(sim.block(*block) for block in unique.values())
    expected = {register: tuple(block) for register, *block in unique.values()}
    assert kr.decode_response(sim.frame(0x40, content), list(unique)) == expected


@given(st.lists(REGISTER_IDS, min_size=1, max_size=8))
def test_the_other_implementation_reads_our_requests(registers):
    content = sim.content_of(kr.encode_request(registers), 0x80)
    ids = b"".join(register.to_bytes(2, "big") for register in registers)
    assert content == bytes((0x3F, 0x10, len(registers))) + ids


def response(content: str) -> bytes:
    return sim.frame(0x40, bytes.fromhex(content))


GOOD = "3F10 003C 08 04 43 00003F6B"


@pytest.mark.parametrize(
    ("frame", "error", "what"),
    [
        (b"", kr.DamagedResponseError, "not one whole frame"),
        (b"\x40\x0d", kr.DamagedResponseError, "CRC"),
        (b"\x40\x00\x00\x0d", kr.DamagedResponseError, "CRC"),
        (response(GOOD)[1:], kr.DamagedResponseError, "not one whole frame"),
        (response(GOOD)[:-1], kr.DamagedResponseError, "not one whole frame"),
        (b"\x80" + response(GOOD)[1:], kr.DamagedResponseError, "not one whole frame"),
        (b"\x40\x3f\x10\x1b\x55\x00\x00\x0d", kr.DamagedResponseError, "not escaped"),
        (b"\x40\x3f\x10\x00\x1b\x0d", kr.DamagedResponseError, "not escaped"),
        (b"\x40\x3f\x80\x10\x00\x0d", kr.DamagedResponseError, "not escaped"),
        (b"\x40\x3f\x06\x10\x00\x0d", kr.DamagedResponseError, "not escaped"),
        (response("3E10 003C 08 04 43 00003F6B"), kr.WrongResponseError, "another address"),
        (response("3F02 01234567"), kr.WrongResponseError, "another address or CID"),
        (response("3F10 003D 08 04 43 00003F6B"), kr.WrongResponseError, "register 61"),
        (response("3F10 003C 08 05 43 00003F6B"), kr.DamagedResponseError, "lengths"),
        (response("3F10 003C 08 03 43 00003F6B"), kr.DamagedResponseError, "middle of a block"),
        (response("3F10 003C 08 00 43"), kr.DamagedResponseError, "lengths"),
        (response("3F10 003C 08 04"), kr.DamagedResponseError, "middle of a block"),
        (response(GOOD + "00"), kr.DamagedResponseError, "middle of a block"),
        (response(GOOD + GOOD[4:]), kr.WrongResponseError, "register 60 is not expected"),
    ],
)
def test_everything_else_is_refused(frame, error, what):
    with pytest.raises(error, match=re.escape(what)):
        kr.decode_response(frame, [60])


def test_a_register_that_the_meter_lacks_is_left_out():
    assert kr.decode_response(response("3F10"), [60]) == {}
    assert list(kr.decode_response(response(GOOD), [59, 60])) == [60]


def test_frames_are_found_between_echo_and_noise():
    good = response(GOOD)
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
            kr.decode_response(frame, [60])
        except kr.AttemptError:
            continue


BLOCKS = st.tuples(st.integers(0, 0xFFFF), st.integers(0, 255), st.integers(0, 255), VALUES)


@given(st.lists(BLOCKS, min_size=1, max_size=4))
def test_whatever_is_in_a_sound_response_can_be_shown(blocks):
    """All units, exponents and values: a reading is one line of plain characters."""
    unique = {block[0]: block for block in blocks}
    content = b"\x3f\x10" + b"".join(sim.block(*block) for block in unique.values())
    found = kr.decode_response(sim.frame(0x40, content), list(unique))
    assert list(found) == list(unique)
    for register, block in found.items():
        assert re.fullmatch("[ -~]+", str(kr.decode_block(register, block)))


@given(st.binary(min_size=2, max_size=40))
def test_any_content_with_a_right_crc_is_decoded_or_refused(content):
    """Nothing but the module's own errors comes out of it."""
    frame = sim.frame(0x40, b"\x3f\x10" + content)
    try:
        blocks = kr.decode_response(frame, range(0x10000))
    except kr.AttemptError:
        return
    assert (
        b"".join(
            sim.block(register, unit, sign_exponent, value)
            for register, (unit, sign_exponent, value) in blocks.items()
        )
        == content
    )


def test_one_wrong_bit_is_always_noticed():
    good = response(GOOD)
    for at in range(len(good)):
        for bit in range(8):
            wrong = good[:at] + bytes((good[at] ^ 1 << bit,)) + good[at + 1 :]
            for frame in kr.find_frames(wrong):
                with pytest.raises(kr.AttemptError):
                    kr.decode_response(frame, [60])


def test_damage_at_scale():
    """Fewer responses than `python tests/damage.py` damages, with a fixed seed."""
    number = 42_000
    done, wrong = damage.run(number, seed=7)
    assert min(done[kind] for kind in damage.PROMISED) > number / 15
    assert sum(wrong[kind] for kind in damage.PROMISED) == 0
    assert sum(wrong.values()) <= 3  # 2^-16 of 29,000 would be half a one
