"""Readings: numbers to the digit; dates, clocks and texts; nonsense shown as it is.

situation                                        test
------------------------------------------------ ---------------------------------------------
numbers                                          test_numbers, test_numbers_are_exact_...
the unit of each id                              test_units_...
dates, times, texts, bytes; and nonsense         test_values_that_..., test_nonsense_...
any unit, exponent and value                     test_whatever_a_meter_sends_...
"""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kamstrup_read as kr


def decode(unit: int, sign_exponent: int, value: str) -> kr.Reading:
    return kr.decode_block(60, kr.Block(unit, sign_exponent, bytes.fromhex(value)))


@pytest.mark.parametrize(
    ("unit", "sign_exponent", "value", "text"),
    [
        (10, 0xC2, "00003039", "-123.45 kcal"),
        (40, 0x03, "000000FF", "255000 m3"),
        (8, 0x43, "00003F66", "16.230 GJ"),
        (22, 0x11, "012AF024", "1959120400000000000000000 kW"),
        (22, 0x41, "0000", "0.0 kW"),
        (8, 0x7F, "01", f"0.{'0' * 62}1 GJ"),
        (8, 0x3F, "01", f"1{'0' * 63} GJ"),
        (8, 0x80, "FF", "-255 GJ"),
        (51, 0x00, "00112233445566778899", "316059037807746189465"),
        (51, 0x00, "2A", "42"),
        (93, 0x00, "05", "5 unit 93"),
        (255, 0x00, "05", "5 unit 255"),
    ],
)
def test_numbers(unit, sign_exponent, value, text):
    reading = decode(unit, sign_exponent, value)
    assert str(reading) == text
    assert (reading.register, reading.digits) == (60, text.split()[0])
    assert isinstance(reading.value, Decimal)


@given(st.integers(0, 255), st.binary(min_size=1, max_size=255))
def test_numbers_are_exact_whatever_the_callers_context(sign_exponent, raw):
    with localcontext() as context:
        context.prec = 2
        value = kr.decode_number(sign_exponent, raw)
    sign, digits, exponent = value.as_tuple()
    integer = int.from_bytes(raw, "big")
    assert sign == (sign_exponent >> 7 if integer else 0)
    assert "".join(map(str, digits)) == str(integer)
    assert exponent == (sign_exponent & 0x3F) * (-1 if sign_exponent & 0x40 else 1)


def test_units_are_those_of_the_protocol_description():
    described = """
        0:- 1:Wh 2:kWh 3:MWh 4:GWh 5:J 6:kJ 7:MJ 8:GJ 9:cal 10:kcal 11:Mcal 12:Gcal 13:varh
        14:kvarh 15:Mvarh 16:Gvarh 17:VAh 18:kVAh 19:MVAh 20:GVAh 21:W 22:kW 23:MW 24:GW 25:var
        26:kvar 27:Mvar 28:Gvar 29:VA 30:kVA 31:MVA 32:GVA 33:V 34:A 35:kV 36:kA 37:C 38:K 39:l
        40:m3 41:l/h 42:m3/h 43:m3xC 44:ton 45:ton/h 46:h 51:- 52:bar 55:m3x10 56:tonx10 57:GJx10
        58:min 60:s 61:ms 62:days 65:imp/l 66:l/imp 67:Hz 68:degree 69:% 70:USgal 71:USgal/min
        85:%RH 86:%O2 87:m/s 88:kJ/kg 89:pH 90:g/kg
    """
    for entry in described.split():
        number, _, name = entry.partition(":")
        assert str(decode(int(number), 0x42, "05")) == f"0.05 {name.strip('-')}".rstrip()


@pytest.mark.parametrize(
    ("unit", "sign_exponent", "value", "text"),
    [
        pytest.param(47, 0, "00030E33", "20:02:43", id="time of day"),
        pytest.param(47, 0, "00030D40", "20:00:00", id="time of day, 200000"),
        pytest.param(47, 0, "00000065", "00:01:01", id="time of day, 101"),
        pytest.param(47, 0, "0000", "00:00:00", id="midnight"),
        pytest.param(48, 0, "00035BD0", "2022-01-12", id="date"),
        pytest.param(48, 0, "0000C41F", "2005-02-07", id="date, 50207"),
        pytest.param(48, 0, "00000065", "2000-01-01", id="first date, 101"),
        pytest.param(48, 0, "000F1FFF", "2099-12-31", id="last date"),
        pytest.param(50, 0, "000004CF", "12-31", id="month and day"),
        pytest.param(50, 0, "000000E5", "02-29", id="leap day"),
        pytest.param(50, 0, "00000065", "01-01", id="month and day, 101"),
        pytest.param(53, 0, "FF052B020A180B1A", "2026-11-24T10:02:43", id="clock of the 382"),
        pytest.param(54, 0, "36383520333832000000", "685 382", id="text"),
        pytest.param(54, 0, "20417E2000", "A~", id="text with blanks around it"),
        pytest.param(79, 0, "011A0B18142B05", "2026-11-24T20:43:05", id="date and time"),
    ],
)
def test_values_that_are_not_plain_numbers(unit, sign_exponent, value, text):
    reading = decode(unit, sign_exponent, value)
    assert (reading.value, reading.unit) == (text, "")


@pytest.mark.parametrize(
    ("unit", "sign_exponent", "value", "text"),
    [
        pytest.param(47, 0, "0003A980", "240000", id="no such hour"),
        pytest.param(47, 0, "00001770", "6000", id="no such minute"),
        pytest.param(47, 0, "0000003C", "60", id="no such second"),
        pytest.param(47, 0x80, "05", "-5", id="negative time"),
        pytest.param(47, 0x41, "05", "0.5", id="fraction of a time"),
        pytest.param(47, 0, "00989680", "10000000", id="too long for a time"),
        pytest.param(48, 0, "00000000", "0", id="date that was never set"),
        pytest.param(48, 0, "00035C06", "220166", id="no such day"),
        pytest.param(48, 0, "000F42A5", "1000101", id="year 100"),
        pytest.param(48, 0x80, "26AB", "-9899", id="negative date"),
        pytest.param(50, 0, "00000000", "0", id="month and day that were never set"),
        pytest.param(50, 0, "0003120F", "201231", id="date in place of month and day"),
        pytest.param(53, 0, "0000000000000000", "0x0000000000000000 RTC", id="clock never set"),
        pytest.param(53, 0, "052B020A180B1A", "0x052b020a180b1a RTC", id="clock without a byte"),
        pytest.param(53, 0, "00052B0218180B1A", "0x00052b0218180b1a RTC", id="clock, 24 hours"),
        pytest.param(54, 0, "361B5B32", "0x361b5b32 ASCII", id="terminal escape in a text"),
        pytest.param(54, 0, "41FF", "0x41ff ASCII", id="text that is not ASCII"),
        pytest.param(54, 0, "0020", "0x0020 ASCII", id="empty text"),
        pytest.param(79, 0, "00FF0B18142B05", "0x00ff0b18142b05 date and time", id="year 255"),
        pytest.param(79, 0, "00640101000000", "0x00640101000000 date and time", id="year 100"),
        pytest.param(79, 0, "1A0B18142B05", "0x1a0b18142b05 date and time", id="byte missing"),
        pytest.param(49, 0, "07E60A0B", "0x07e60a0b yyyy:mm:dd", id="unknown layout 49"),
        pytest.param(59, 0, "0001", "0x0001 bitfield", id="unknown layout 59"),
        pytest.param(63, 0, "01", "0x01 RTC-Q", id="unknown layout 63"),
        pytest.param(64, 0, "01", "0x01 datetime", id="unknown layout 64"),
        pytest.param(72, 0, "01", "0x01 unit 72", id="unknown layout 72"),
    ],
)
def test_nonsense_is_shown_as_it_is(unit, sign_exponent, value, text):
    reading = decode(unit, sign_exponent, value)
    assert str(reading) == text
    assert isinstance(reading.value, str)


@given(st.integers(0, 255), st.integers(0, 255), st.binary(min_size=1, max_size=30))
def test_whatever_a_meter_sends_is_one_line_of_plain_characters(unit, sign_exponent, raw):
    reading = kr.decode_block(60, kr.Block(unit, sign_exponent, raw))
    assert str(reading).isascii()
    assert str(reading).isprintable()
    assert str(reading).startswith(reading.digits)
    assert reading.digits
