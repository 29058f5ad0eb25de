"""The older ASCII protocol: recorded responses, damage, and the exchange at two speeds.

situation                                        test
------------------------------------------------ ---------------------------------------------
recorded requests, read-outs, data strings       test_recorded_...
groups of a read-out: odd, blank, glued          test_a_group_..., test_a_blank_group_...
characters before and after a data string        test_what_stands_before_...
one wrong bit, characters missing                test_one_wrong_bit_..., ..._or_missing_...
decimals by configuration, known or not          test_decimals_..., test_an_unknown_...
every register; with ACK or not; echo            test_every_register_...
bad or missing responses, noise without end      test_one_bad_..., test_bad_..., test_noise_...
times and speeds                                 test_five_seconds_..., ..._speed_changes_...
what can't be read                               test_a_register_..., test_a_port_...
"""

from __future__ import annotations

import json
import pathlib
from decimal import Decimal, localcontext

import pytest
import simulated_meter as sim
from fake_serial import BITS_PER_CHARACTER, Chunks, FakeSerial, connect
from hypothesis import given
from hypothesis import strategies as st
from program import Result, run

import kamstrup_read as kr

DATA = pathlib.Path(__file__).parent / "data" / "mc66-answers.json"
RECORDED = json.loads(DATA.read_text(encoding="utf-8"))
REQUESTS = [row for row in RECORDED if row["direction"] == "request"]
READ_OUTS = [row for row in RECORDED if "\x02" in row["text"]]
STRINGS = [row for row in RECORDED if row["request"] in ("/#1", "/#2") and row["kind"] == "real"]
CORRUPT = [row for row in RECORDED if row["kind"] == "real-corrupt"]

READ_OUT, ACKNOWLEDGE = "/?!\r\n", "\x06000\r\n"
BODY = "0.0(00002742640)6.8(0456.631*GJ)6.26(3447.381*m3)6.31(0040345*h)!\x03"
STRING, FIELDS = sim.even(sim.MC66_DATA), sim.MC66_DATA.split()
GROUPS = {60: "456.631 GJ", 68: "3447.381 m3", 1004: "40345 h", 1010: "2742640"}
VALUES = {  # of the meter in these tests, by register
    **GROUPS,
    **{74: "79 l/h", 80: "3.1 kW", 86: "68.11 C", 87: "33.66 C", 89: "34.45 K", 99: "0"},
    128: "9.3 kW",
}


def block(body: str = BODY) -> str:
    """A read-out: STX, body, BCC."""
    return "\x02" + body + chr(sum(map(ord, body)) % 128)


def values_of(received: bytes, registers=GROUPS) -> dict[int, str]:
    """Those registers of a read-out."""
    contents = kr.split_read_out(kr.find_read_out(received))
    return {number: str(kr.read_out_reading(contents, number)) for number in registers}


def flipped(data: bytes, place: int) -> bytes:
    """The data with one bit wrong; bit 0 of the first byte is at place 0."""
    at, bit = divmod(place, 8)
    return data[:at] + bytes((data[at] ^ 1 << bit,)) + data[at + 1 :]


def text_of(data: bytes) -> str:
    return "".join(chr(byte & 0x7F) for byte in data)


# Recorded requests and responses


def test_recorded_requests_have_even_parity():
    assert REQUESTS
    for row in REQUESTS:
        wire = kr.encode_characters(bytes.fromhex(row["wire_hex"]).decode())
        assert wire.hex().upper() == row["wire_hex_8bit_even_parity"]


@pytest.mark.parametrize("row", READ_OUTS, ids=lambda row: row["meter"])
def test_recorded_read_outs_have_their_known_values(row):
    text = row["text"]
    if "\x03" not in text:  # ETX and BCC were not recorded
        text = block(text[1:] + "\x03")
    expected = {}
    for register, name in ((60, "energy"), (68, "volume"), (1004, "hours"), (1010, "customer_no")):
        if name in row["decoded"]:
            known = row["decoded"][name]
            expected[register] = f"{Decimal(known['raw'])} {known['unit'] or ''}".rstrip()
    assert expected
    assert values_of(sim.even(text), expected) == expected


@pytest.mark.parametrize("row", STRINGS, ids=lambda row: row["request"])
def test_recorded_data_strings_have_their_known_fields(row):
    fields = kr.find_data_string(sim.even(row["text"]), row["request"])
    assert fields == list(row["decoded"]["fields"].values())


def test_recorded_damaged_data_strings_are_refused():
    assert CORRUPT
    for row in CORRUPT:
        for ending in (" \r", "\r", ""):
            assert kr.find_data_string(sim.even(row["text"] + ending), "/#1") is None


# Read-outs


FORMS = [  # register, contents of its group that are taken, and those that are damaged
    (
        60,
        "00000.00*MWh 0456,631*GJ 0456631*kWh 001234.5*Gcal 0456.631 0456.631*",
        "0456.631*MW 0456.631*G*J 0456.6.31*GJ .0456631*GJ 0456631.*GJ -456.631*GJ Blank "
        "456.631*GJ 10456.631*GJ 456631 10456631",
    ),
    (68, "3447.381*m3 3447381* 3447,381", "3447.381*m 447.381*m3 13447.381 3447.381*l"),
    (1004, "0040345*h 0040345* 0040345", "0040345*hh 040345*h 00040345*h"),
    (1010, "00000040 00000000040", "0000040 000000040 0000000040 000000000040 000000.40"),
]


@pytest.mark.parametrize(("register", "taken", "refused"), FORMS)
def test_a_group_has_its_form_and_number_of_digits_or_is_damaged(register, taken, refused):
    """A digit less or more is left where two read-outs ran together, maybe with a right sum."""
    code = kr.READ_OUT_GROUPS[register]
    for content in taken.split():
        number, _, unit = content.replace(",", ".").partition("*")
        reading = kr.read_out_reading({code: content}, register)
        assert reading == (register, Decimal(number), unit)
    for content in refused.split():
        with pytest.raises(kr.DamagedResponseError, match=f"for register {register}"):
            kr.read_out_reading({code: content}, register)


@pytest.mark.parametrize("energy", ["6.8()", "6.8(        )", "6.8(*)", "6.8(       *GJ)", ""])
def test_a_blank_group_or_none_is_a_register_that_the_meter_lacks(energy):
    """As the energy of a water meter, whose other groups are read all the same."""
    received = sim.even(block(BODY.replace("6.8(0456.631*GJ)", energy)))
    with pytest.raises(kr.UnknownRegisterError):
        values_of(received)
    others = (68, 1004, 1010)
    assert values_of(received, others) == {number: GROUPS[number] for number in others}


@pytest.mark.parametrize(
    "body",
    [
        *("6.8(0456.631*GJ)6.8(0456.631*GJ)!", "6.8(0456.631*GJ)9.9(1)9.9(2)!", "!", ""),
        *("6.8(0456.631*GJ)", "6.8(0456.631*GJ!", "6.8 (0456.631*GJ)!", "6.8(0456.631*GJ)!!"),
    ],
)
def test_a_read_out_that_is_not_made_of_groups_is_damaged(body):
    with pytest.raises(kr.DamagedResponseError):
        kr.split_read_out(sim.even(block(body + "\x03")))


def test_a_read_out_is_found_once_it_is_whole():
    good = sim.even(block())
    assert all(kr.find_read_out(good[:size]) is None for size in range(len(good)))
    assert kr.find_read_out(b"\x03\x00" + good[:40] + good + good) == good
    assert kr.find_read_out(good[:-1] + b"\n") == good[:-1] + b"\n"


def test_one_wrong_bit_in_a_read_out_is_always_noticed_but_for_the_parity_of_its_checksum():
    good = sim.even(block())
    last = 8 * len(good) - 1
    for place in range(last):
        wrong = kr.find_read_out(flipped(good, place))
        if wrong is not None:
            with pytest.raises(kr.DamagedResponseError):
                kr.split_read_out(wrong)
    assert values_of(flipped(good, last)) == GROUPS


# Data strings


def test_what_stands_before_and_after_a_data_string():
    """Before it no digit or minus sign, once one copy of the request, the head's echo, is gone."""
    for before in ("", "/#1", "#1", "t", " ", "-t", "/#1t", "x/#1", "1t", "1234567 "):
        assert kr.find_data_string(sim.even(before) + STRING, "/#1") == FIELDS, before
    for before in ("0", "0000", "9", "-", "/#10", "#1-", "/#1#1", "/#1/#1", "5#1"):
        assert kr.find_data_string(sim.even(before) + STRING, "/#1") is None, before
    for noise in (b"\x31", b"\xff\0\x80"):  # with wrong parity
        assert kr.find_data_string(noise + STRING + b"x\x8d" + STRING, "/#1") == FIELDS


def test_one_character_wrong_or_missing_in_a_data_string_is_always_noticed():
    last = 8 * len(STRING) - 1  # the parity of the CR, which does not count
    for place in range(last):
        assert kr.find_data_string(flipped(STRING, place), "/#1") is None, place
    assert kr.find_data_string(flipped(STRING, last), "/#1") == FIELDS
    for length in (1, 2, 7, 8):
        for at in range(len(STRING) - length + 1):
            assert kr.find_data_string(STRING[:at] + STRING[at + length :], "/#1") is None


def test_temperatures_and_info_code_must_match():
    kr.check_fields(FIELDS)
    colder = [*FIELDS[:4], "0009546", "-002735", *FIELDS[6:]]
    kr.check_fields(kr.find_data_string(sim.even(" ".join(colder) + " \r"), "/#1"))
    for at, wrong in ((3, "0001234"), (4, "0001234"), (5, "0001234"), (5, "-003445")):
        with pytest.raises(kr.DamagedResponseError, match="T1 - T2"):
            kr.check_fields([*FIELDS[:at], wrong, *FIELDS[at + 1 :]])


def test_the_end_of_a_late_response_to_another_request_is_refused():
    """Its first characters came before the port had the speed for them."""
    late = kr.find_data_string(sim.even(sim.MC66_CONFIGURATION[4:]), "/#1")
    with pytest.raises(kr.DamagedResponseError, match="info code"):
        kr.check_fields(late)
    kr.check_fields([*FIELDS[:9], "0099999"])


@given(st.binary(max_size=200))
def test_arbitrary_bytes_bring_only_the_modules_own_errors(data):
    kr.find_identification(data)
    assert kr.find_data_string(data, "/#1") is None
    for found in (kr.find_read_out(data), b"\x82" + data + b"\x03\x00"):
        if found is not None:
            with pytest.raises(kr.DamagedResponseError):
                kr.split_read_out(found)


@pytest.mark.parametrize(
    ("codes", "power", "flow", "peak"),
    [
        ("107 116 119 120 136 137 151 178 179 184", "3.1 kW", "79 l/h", "9.3 kW"),
        ("197 198 199 827 833 839", "3.1 kW", "79 l/h", "9.3 kW"),
        ("158", "31 kW", "0.79 m3/h", "93 kW"),
        ("147 170 180 181", "0.031 MW", "0.79 m3/h", "0.093 MW"),
    ],
)
def test_decimals_by_configuration_whatever_the_callers_context(codes, power, flow, peak):
    fields = {80: ("0000031", power), 74: ("0000079", flow), 128: ("0000093", peak)}
    with localcontext() as context:
        context.prec = 1
        for ccc in codes.split():
            for register, (digits, text) in fields.items():
                assert str(kr.scale_field(register, digits, f"0044{ccc}")) == text
        assert str(kr.scale_field(89, "-012735", "")) == "-127.35 K"  # needs no configuration


# The exchange


class Port(FakeSerial):
    """A port that notes when its speed was changed last."""

    changed_at = 0.0

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "baudrate":
            self.changed_at = self.clock.now


MULTICAL_401 = {
    READ_OUT: "/KAM0MC\r\n",
    ACKNOWLEDGE: block(),
    "/#1": sim.MC66_DATA,
    "/#2": sim.MC66_CONFIGURATION,
}
MULTICAL_66 = {  # needs no ACK
    **MULTICAL_401,
    READ_OUT: "/KAM MC\r\n" + block(BODY.replace(")", ")\r\n").replace("!", "!\r\n")),
    ACKNOWLEDGE: "",
}


def meter(monkeypatch: pytest.MonkeyPatch, kind=MULTICAL_401, changes=(), always=bytes) -> Port:
    """A meter that receives at 300 baud, and sends its data strings at 1200.

    changes: what becomes of the first, second, ... response; always: of those after them.
    """
    changes = list(changes)

    def respond(request: bytes, _number: int) -> Chunks:
        response = sim.even(kind[text_of(request)] if port.baudrate == 300 else "")
        response = (changes.pop(0) if changes else always)(response)
        if request[:2] != sim.even("/#"):
            return [(0.4, response)]
        byte_time = BITS_PER_CHARACTER / 1200
        return [(0.35 + at * byte_time, response[at : at + 1]) for at in range(len(response))]

    port = connect(monkeypatch, respond, kind=Port)
    return port


def texts(port: Port) -> list[str]:
    return [text_of(request) for _, request in port.requests]


def read(register: int | str, **options: object) -> str:
    return str(kr.read_register("port", register, protocol="mc66", **options))


@pytest.mark.parametrize("echo", [False, True], ids=["", "echo"])
@pytest.mark.parametrize(("kind", "acknowledged"), [(MULTICAL_401, 4), (MULTICAL_66, 0)])
def test_every_register_of_each_kind_of_meter(monkeypatch, kind, acknowledged, echo):
    port = meter(monkeypatch, kind)
    port.echo = echo
    calls: list[str] = []
    hooks = kr.Hooks(kr.ignore, kr.ignore, lambda: calls.append("idle"))
    with kr.Meter("port", "mc66", hooks=hooks) as reader:
        assert {register: str(reader.read(register)) for register in VALUES} == VALUES
    assert texts(port).count("/#2") == 1
    assert texts(port).count(ACKNOWLEDGE) == acknowledged
    assert calls == []  # nothing else is done meanwhile: the meter waits for its ACK only so long


def nothing(_response: bytes) -> bytes:
    return b""


def parity(response: bytes) -> bytes:
    return flipped(response, 16)


@pytest.mark.parametrize("number", [0, 1, 2], ids=["identification", "read-out", "data string"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(nothing, id="silence"),
        pytest.param(lambda response: response[:6], id="cut"),
        pytest.param(lambda response: response[1:], id="first character lost"),
        pytest.param(lambda response: response[:2] + response[10:], id="eight characters lost"),
        pytest.param(parity, id="parity"),
        pytest.param(lambda _response: b"\x33" * 300, id="rubbish"),
    ],
)
def test_one_bad_response_is_requested_again_after_a_rest(monkeypatch, change, number):
    register, request = (86, "/#1") if number == 2 else (60, READ_OUT)
    port = meter(monkeypatch, changes=[bytes, change] if number == 1 else [change])
    assert read(register) == VALUES[register]
    assert texts(port).count(request) == 2
    assert port.quiet[texts(port).index(request, 1)] > 5 - 1e-6


NO_READ_OUT = {**MULTICAL_401, ACKNOWLEDGE: ""}
NO_ENERGY = {**MULTICAL_401, ACKNOWLEDGE: block("6.26(3447.381)!\x03")}
WRONG_TEMPERATURES = {"/#1": f"{'0000001 ' * 10}\r"}


@pytest.mark.parametrize(
    ("register", "kind", "always", "code", "words"),
    [
        (60, MULTICAL_401, nothing, 4, "need no --protocol mc66"),
        (86, MULTICAL_401, nothing, 4, "need no --protocol mc66"),
        (60, NO_READ_OUT, bytes, 5, "the read-out has no end"),
        (60, MULTICAL_66, lambda response: flipped(response, 240), 5, "parity or checksum"),
        (86, MULTICAL_401, parity, 5, "81 bytes"),
        (86, WRONG_TEMPERATURES, bytes, 5, "T1 - T2"),
        (60, NO_ENERGY, bytes, 6, "no such register"),
    ],
)
def test_bad_responses_for_ever(monkeypatch, capsys, register, kind, always, code, words):
    for echo in (False, True):
        port = meter(monkeypatch, kind, always=always)
        port.echo = echo
        ended = kr.main(["port", str(register), "--protocol", "mc66", "--wait", "9"])
        result = Result(ended, *capsys.readouterr(), 0.0)
        result.failed(code, f"register {register}: ", words)
        assert ("only the head's echo" in result.err) == (echo and code == 4)
        assert texts(port).count(texts(port)[0]) == (1 if code == 6 else 2)


def test_an_unknown_configuration_shows_the_digits_and_is_not_requested_again(monkeypatch, capsys):
    configuration = sim.MC66_CONFIGURATION.replace("0044119", "0044999")
    port = meter(monkeypatch, {**MULTICAL_401, "/#2": configuration})
    code = kr.main(["port", "POWER1", "--protocol", "mc66"])
    words = ("register POWER1: ", "0000031", "ABCCC = 44999")
    Result(code, *capsys.readouterr(), 0.0).failed(5, *words)
    assert texts(port) == ["/#2", "/#1"]
    assert read("T1") == VALUES[86]  # needs no configuration


@pytest.mark.parametrize("register", [60, 86])
def test_noise_without_end_is_given_up(monkeypatch, register):
    port = meter(monkeypatch, always=nothing)
    for number in range(6000):
        port.add(port.clock.now + number * 0.01, b"\x55")
    with pytest.raises(kr.DamagedResponseError):
        read(register, wait=2)
    assert port.clock.now - 1000 < 2 + 10 + 3 + 200 * 11 / 300 + 1


def test_five_seconds_of_rest_while_the_meter_is_silent_for_the_whole_wait(monkeypatch):
    port = meter(monkeypatch, always=nothing)
    with pytest.raises(kr.NoResponseError):
        read(60)
    assert all(5 - 1e-6 < quiet < 5.2 for quiet in port.quiet[1:])
    first, last = port.requests[0][0], port.requests[-1][0]
    assert 30 - 5.5 < last - first < 30
    assert 3 < port.clock.now - last < 3.5


def test_five_seconds_of_rest_after_a_response_and_a_moment_before_the_acknowledgement(monkeypatch):
    """A meter that needs no ACK begins its read-out within that moment."""
    port = meter(monkeypatch)
    with kr.Meter("port", "mc66") as reader:
        assert [str(reader.read(register)) for register in (86, 60)] == [VALUES[86], VALUES[60]]
    assert texts(port) == ["/#1", READ_OUT, ACKNOWLEDGE]
    assert 5 - 1e-6 < port.quiet[1] < 5.1
    assert 0.2 < port.quiet[2] < 1.0


def test_the_speed_changes_once_the_request_has_left(monkeypatch):
    port = meter(monkeypatch)
    assert read(86) == VALUES[86]
    sent, request = port.requests[0]
    left = sent + len(request) * BITS_PER_CHARACTER / 300
    assert port.baudrate == 1200
    assert left + 0.05 < port.changed_at < left + 0.3  # when a response may begin


def test_at_the_lines_real_pace_the_speed_changes_in_time():
    with sim.Mc66Meter(pace=True, echo=True) as simulated:
        run(simulated.port, 86, "--protocol", "mc66", "--wait", 60).printed(VALUES[86])


def test_a_register_that_the_protocol_lacks_is_refused_before_the_port_is_opened(tmp_path):
    result = run(tmp_path / "none", "VA", "--protocol", "mc66")
    result.failed(6, "register VA: ", ", ".join(map(str, sorted(VALUES))))


def test_a_port_that_can_not_change_its_speed_is_for_the_read_out_alone(monkeypatch):
    port = meter(monkeypatch)
    with pytest.raises(kr.PortError, match="rfc2217://"):
        kr.read_register("socket://x:1", 86, protocol="mc66")
    assert port.requests == []
    assert str(kr.read_register("socket://x:1", 60, protocol="mc66")) == VALUES[60]
