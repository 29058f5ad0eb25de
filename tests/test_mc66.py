"""The older ASCII protocol: recorded answers, the line at both speeds, damage, and how it is told.

fault                                            expected
------------------------------------------------ ---------------------------------------------
echo, ACK or not, CR LF or not, real pace        the value                  test_reads
one damaged or missing answer                    the value, 5 s later       test_tried_again
damaged or missing for ever                      4 or 5, and its advice     test_given_up
each character of an answer damaged              refused                    test_refused_*
a configuration that is not known                5, with the raw digits     test_unknown_configuration
"""

from __future__ import annotations

import json
import pathlib
from decimal import Decimal

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from conftest import SLACK, run
from hypothesis import given
from hypothesis import strategies as st

import kamstrup_read as kr

ANSWERS = json.loads((pathlib.Path(__file__).parent / "data" / "mc66-answers.json").read_text())
REAL_66_DATA = next(row for row in ANSWERS if row["request"] == "/#1" and row["kind"] == "real")
REAL_66_CONFIGURATION = next(row for row in ANSWERS if row["request"] == "/#2")
READOUT_66 = next(row for row in ANSWERS if row["meter"] == "MULTICAL 66C" and row["request"] == "/?!")
READOUT_382 = next(row for row in ANSWERS if "382" in row["meter"])
READOUT_401 = next(row for row in ANSWERS if row["meter"] == "MULTICAL 401")
CORRUPT = [row for row in ANSWERS if row["kind"] == "real-corrupt"]


def on_the_line(text: str) -> bytes:
    return sim.even(text)


# Recorded requests and answers


@pytest.mark.parametrize(
    "row", [row for row in ANSWERS if row["direction"] == "request"], ids=lambda row: row["text"]
)
def test_recorded_requests(row):
    assert kr.set_parity(bytes.fromhex(row["wire_hex"])).hex().upper() == row["wire_hex_8bit_even_parity"]


@given(st.text(st.characters(min_codepoint=0, max_codepoint=127)))
def test_parity_as_the_other_implementation_has_it(text):
    assert kr.set_parity(text.encode()) == sim.even(text)
    assert kr.check_parity(sim.even(text)) == text


def test_recorded_read_out_of_a_66():
    block = kr.find_read_out(on_the_line(READOUT_66["text"]))
    assert kr.decode_read_out(block) == {
        "0.0": (Decimal(40), ""),
        "6.8": (Decimal("0.00"), "MWh"),
        "6.26": (Decimal("0.0"), "m3"),
        "6.31": (Decimal(53189), "h"),
    }


def test_recorded_read_out_of_another_kind_of_meter_has_no_register_of_ours_but_its_number():
    block = kr.find_read_out(on_the_line(READOUT_382["text"]))
    assert kr.decode_read_out(block) == {"0.0": (Decimal(54042), "")}


def test_recorded_read_out_of_a_401():
    body = READOUT_401["text"][1:] + "\x03"  # its checksum was not recorded
    block = on_the_line("\x02" + body + chr(sum(map(ord, body)) % 128))
    assert kr.decode_read_out(kr.find_read_out(block)) == {
        "0.0": (Decimal(2742640), ""),
        "6.8": (Decimal("456.631"), "GJ"),
        "6.26": (Decimal("3447.381"), "m3"),
        "6.31": (Decimal(40345), "h"),
    }


@pytest.mark.parametrize(("row", "length"), [(REAL_66_DATA, 81), (REAL_66_CONFIGURATION, 85)], ids=["/#1", "/#2"])
def test_recorded_data_strings(row, length):
    found = kr.find_fields(on_the_line(row["text"]), length)
    assert kr.decode_fields(found, length) == list(row["decoded"]["fields"].values())


@pytest.mark.parametrize("row", CORRUPT, ids=lambda row: row["text"][:8])
def test_recorded_damaged_data_strings_are_refused(row):
    heard = on_the_line(row["text"] + " \r")
    found = kr.find_fields(heard, 81)
    if found is not None:
        with pytest.raises(kr.Damaged):
            kr.decode_fields(found, 81)


# The whole program


@pytest.fixture(params=["401", "66, echo"])
def meter(request):
    kinds = {
        "401": {},
        "66, echo": {"waits_for_ack": False, "newlines": True, "name": "/KAM MC", "echo": True},
    }
    with sim.Mc66Meter(**kinds[request.param]) as meter:
        yield meter


def read(meter, register, *options):
    return run(meter.port, register, "--protocol", "mc66", *options)


@pytest.mark.parametrize(
    ("register", "text"),
    [
        (60, "456.631 GJ"),
        ("v1", "3447.381 m3"),
        ("HR", "40345 h"),
        (1010, "2742640"),
        ("T1", "68.11 C"),
        ("T2", "33.66 C"),
        ("T1-T2", "34.45 K"),
        ("INFO", "0"),
        ("POWER1", "3.1 kW"),
        ("FLOW1", "79 l/h"),
        (128, "9.3 kW"),
    ],
)
def test_reads(meter, register, text):
    result = read(meter, register, "--wait", 0)
    assert (result.code, result.out, result.err) == (0, text + "\n", "")
    assert result.seconds < (5 if register in ("POWER1", "FLOW1", 128) else 0) + 2 + SLACK


@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("waits_for_ack", [False, True])
@pytest.mark.parametrize(("register", "text", "seconds"), [(60, "456.631 GJ", 8), ("T1", "68.11 C", 4)])
def test_reads_at_real_pace(register, text, seconds, waits_for_ack, echo):
    with sim.Mc66Meter(waits_for_ack=waits_for_ack, pace=True, echo=echo, spacing=4.5) as meter:
        result = read(meter, register)
        assert len(meter.asked) == 1
    assert (result.code, result.out, result.err) == (0, text + "\n", "")
    assert result.seconds < seconds + SLACK


def test_scaled_register_at_real_pace():
    with sim.Mc66Meter(pace=True, spacing=4.5) as meter:
        result = read(meter, "POWER1")
        assert meter.asked == ["/#2", "/#1"]
    assert result.out == "3.1 kW\n"
    assert result.seconds < 10 + SLACK


@pytest.mark.parametrize(
    ("energy", "text"),
    [
        ("00000.00*MWh", "0.00 MWh"),
        ("0456,631*GJ", "456.631 GJ"),
        ("0456631*kWh", "456631 kWh"),
        ("12.5*Gcal", "12.5 Gcal"),
        ("0456.631", "456.631"),
    ],
)
def test_units_and_decimals_of_the_read_out(energy, text):
    with sim.Mc66Meter(energy=energy) as meter:
        assert read(meter, 60, "--wait", 0).out == text + "\n"


DATA = "0507109 1296626 0032673 0006811 0003366 0003445 0000031 0000079 0000093 0000000 \r"


@pytest.mark.parametrize(
    ("ccc", "power", "flow", "peak"),
    [
        ("119", "3.1 kW", "79 l/h", "9.3 kW"),
        ("179", "3.1 kW", "79 l/h", "9.3 kW"),
        ("107", "3.1 kW", "79 l/h", "9.3 kW"),
        ("158", "31 kW", "0.79 m3/h", "93 kW"),
        ("147", "0.031 MW", "0.79 m3/h", "0.093 MW"),
        ("181", "0.031 MW", "0.79 m3/h", "0.093 MW"),
    ],
)
def test_decimals_by_configuration(ccc, power, flow, peak, monkeypatch):
    monkeypatch.setattr(kr.Mc66Meter, "pause", 0.1)
    configuration = f"00000060017 {'0000000 ' * 6}0044{ccc} 1200000 0171028 \r"
    with sim.Mc66Meter(configuration=configuration) as meter, kr.Mc66Meter(meter.port) as reader:
        assert [str(reader.read(register)) for register in (80, 74, 128)] == [power, flow, peak]
        assert meter.asked.count("/#2") == 1


def test_unknown_configuration_is_never_guessed():
    configuration = f"00000060017 {'0000000 ' * 6}0044999 1200000 0171028 \r"
    with sim.Mc66Meter(configuration=configuration) as meter:
        result = read(meter, "POWER1")
        assert meter.asked == ["/#2", "/#1"]  # asking again would not help
        assert read(meter, "T1").out == "68.11 C\n"  # needs no configuration
    assert result.code == 5
    for words in ("0000031", "CCC = 999", "0044999"):
        assert words in result.one_line()


def test_negative_values():
    data = DATA.replace("0003366", "0009546").replace("0003445", "-002735").replace("0000031", "-000031")
    with sim.Mc66Meter(data=data) as meter:
        assert read(meter, "T1-T2").out == "-27.35 K\n"


def test_registers_that_these_meters_lack():
    result = run("/dev/null", 84, "--protocol", "mc66")
    assert result.code == 6
    assert "60 68 74 80 86 87 89 99 128 1004 1010" in result.one_line()
    with sim.Mc66Meter(volume="1") as meter:
        meter.block = kr.re.sub(r"6\.26.*?\)", "", meter.block)
        body = meter.block[1:-1]
        meter.block = meter.block[:-1] + chr(sum(map(ord, body)) % 128)
        assert read(meter, 68, "--wait", 0).code == 6


def test_pushed():
    with sim.Mc66Meter() as meter, fake.FakeDomoticz() as domoticz:
        result = read(meter, 60, 12, "--multiply", 1000, "--url", domoticz.url)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert domoticz.pushes == [("12", "456631")]


def test_network_port_can_not_change_its_speed():
    result = read(type("Meter", (), {"port": "socket://127.0.0.1:9"}), "T1")
    assert result.code == 3
    assert "rfc2217://" in result.one_line()


# Damage


def without(at: int, length: int = 1):
    return lambda answer: answer[:at] + answer[at + length :]


def wrong(at: int, bits: int = 0x01):
    return lambda answer: answer[:at] + bytes((answer[at] ^ bits,)) + answer[at + 1 :]


def cut(answer: bytes) -> bytes:
    return answer[: len(answer) // 2]


@pytest.mark.parametrize("register", [60, "T1"])
@pytest.mark.parametrize(
    "damage",
    [None, cut, without(0), without(3, 8), wrong(5), wrong(0), lambda answer: b"\x33" * 300],
    ids=["silence", "cut", "first character lost", "a field lost", "parity", "first character", "rubbish"],
)
def test_tried_again(register, damage):
    with sim.Mc66Meter(damages=[damage], spacing=4.5) as meter:
        result = read(meter, register)
        assert len(meter.asked) == 2
    assert (result.code, result.out, result.err) == (0, "456.631 GJ\n" if register == 60 else "68.11 C\n", "")
    assert result.seconds > 5


@pytest.mark.parametrize("register", [60, "T1"])
@pytest.mark.parametrize(
    ("damage", "code", "says"),
    [
        pytest.param(cut, 5, ["damaged answer"], id="cut"),
        pytest.param(wrong(5), 5, ["damaged answer"], id="parity"),
    ],
)
def test_given_up(register, damage, code, says):
    with sim.Mc66Meter(damages=[damage] * 9) as meter:
        result = read(meter, register, "--wait", 6)
        assert len(meter.asked) == 2
    assert result.code == code
    for words in says:
        assert words in result.one_line()


@pytest.mark.parametrize(("echo", "says"), [(False, "no answer from the meter"), (True, "only the head's echo")])
@pytest.mark.parametrize("register", [60, "T1"])
def test_silence_mentions_kmp(register, echo, says):
    with sim.KmpMeter(echo=echo, baudrate=0) as meter:
        result = read(meter, register, "--wait", 0)
    assert result.code == 4
    for words in (says, "button", "without --protocol mc66"):
        assert words in result.one_line()
    assert result.seconds < 3 + 2 + SLACK


def test_silence_in_kmp_mentions_mc66():
    with sim.Mc66Meter() as meter:
        result = run(meter.port, 60, "--wait", 0)
    assert result.code == 4
    assert "401, 66, III or 41 needs --protocol mc66" in result.one_line()


@pytest.mark.parametrize("register", [60, "T1"])
def test_noise_without_end(register):
    with sim.KmpMeter(baudrate=0) as line:
        line.hear = lambda data: line.send_chunks(sim.noise_without_end(line, b"", b""))  # type: ignore[method-assign]
        result = read(line, register, "--wait", 2)
    assert result.code == 5
    assert "damaged answer" in result.one_line()
    assert result.seconds < 2 + 3 + 200 * 11 / 300 + SLACK


STRING = on_the_line(DATA)
BODY = "0.0(00002742640)6.8(0456.631*GJ)6.26(3447.381*m3)6.31(0040345*h)!\x03"
BLOCK = on_the_line("\x02" + BODY + chr(sum(map(ord, BODY)) % 128))


def fields_of(heard: bytes) -> list[str]:
    found = kr.find_fields(heard, 81)
    if found is None:
        raise kr.Damaged
    fields = kr.decode_fields(found, 81)
    if int(fields[3]) - int(fields[4]) != int(fields[5]):
        raise kr.Damaged
    return fields


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("at", range(80))
def test_refused_data_string_with_one_flipped_bit(at, bit):
    with pytest.raises(kr.Damaged):
        fields_of(wrong(at, 1 << bit)(STRING))


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_refused_data_string_with_characters_missing(length):
    for at in range(81 - length):
        with pytest.raises(kr.Damaged):
            fields_of(without(at, length)(STRING))


@pytest.mark.parametrize("before", [b"", b"\0", b"\xff", b"\xfe\x01\x80", bytes((0x80,))])
def test_noise_before_a_data_string(before):
    assert fields_of(before + STRING)[0] == "0507109"


@pytest.mark.parametrize("before", ["0", "t", "-", " ", "1234567 "])
def test_refused_data_string_that_is_too_long(before):
    with pytest.raises(kr.Damaged):
        fields_of(on_the_line(before) + STRING)


def test_the_last_bytes_parity_does_not_count():
    assert fields_of(wrong(80, 0x80)(STRING))[0] == "0507109"
    assert kr.decode_read_out(wrong(len(BLOCK) - 1, 0x80)(BLOCK))["6.8"][0] == Decimal("456.631")


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("at", range(len(BLOCK)))
def test_refused_read_out_with_one_flipped_bit(at, bit):
    if at == len(BLOCK) - 1 and bit == 7:
        return  # the parity of the checksum
    block = kr.find_read_out(wrong(at, 1 << bit)(BLOCK))
    if block is not None:
        with pytest.raises(kr.Damaged):
            kr.decode_read_out(block)


def test_the_checksum_is_the_sum_and_not_the_xor():
    xor = 0
    for char in BODY:
        xor ^= ord(char)
    with pytest.raises(kr.Damaged):
        kr.decode_read_out(on_the_line("\x02" + BODY + chr(xor)))


@pytest.mark.parametrize(
    "body",
    [
        "6.8(0456.631*GJ)6.8(0456.631*GJ)!",
        "6.8(0456.631*GJ)9.9(1)9.9(2)!",
        "6.8(0456.631*MW)!",
        "6.8(0456.6.31*GJ)!",
        "6.8(*GJ)!",
        "6.8(-456*GJ)!",
        "6.8(0456.631*GJ)",
        "6.8(0456.631*GJ!",
        "6.8 (0456.631*GJ)!",
        "!",
        "",
        "6.8(0456.631*G*J)!",
    ],
)
def test_refused_read_out_with_a_right_checksum(body):
    body += "\x03"
    with pytest.raises(kr.Damaged):
        kr.decode_read_out(on_the_line("\x02" + body + chr(sum(map(ord, body)) % 128)))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_bring_only_the_modules_own_errors(data):
    kr.find_identification(data)
    for block in filter(None, [kr.find_read_out(data), b"\x02" + data + b"\x03\x00"]):
        with pytest.raises(kr.Damaged):
            kr.decode_read_out(block)
    for length in (81, 85):
        with pytest.raises(kr.Damaged):
            kr.decode_fields(data, length)
