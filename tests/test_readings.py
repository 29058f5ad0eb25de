"""Readings: numbers to the digit, dates, clocks and texts; and what Domoticz gets of them.

what                                 test
------------------------------------ ---------------------------------------------
numbers, all units                   test_numbers, test_units_...
dates, clocks, texts, raw bytes      test_values_that_are_not_plain_numbers
any unit, exponent and value         test_no_value_crashes_and_none_is_unprintable
svalue                               test_svalue...
"""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kamstrup_read as kr


def shown(unit: int, sign_exponent: int, value: str) -> str:
    return str(kr.decode_block(60, (unit, sign_exponent, bytes.fromhex(value))))


@pytest.mark.parametrize(
    ("unit", "sign_exponent", "value", "text"),
    [
        (10, 0xC2, "00003039", "-123.45 kcal"),
        (40, 0x03, "000000FF", "255000 m3"),
        (8, 0x43, "00003F6B", "16.235 GJ"),
        (8, 0x43, "00003F66", "16.230 GJ"),
        (22, 0x11, "012AF024", "1959120400000000000000000 kW"),
        (22, 0x41, "0000", "0.0 kW"),
        (22, 0xC1, "0000", "0.0 kW"),
        (37, 0x42, "14F5", "53.65 C"),
        (37, 0x00, "15", "21 C"),
        (8, 0x7F, "01", "0." + "0" * 62 + "1 GJ"),
        (8, 0x80, "7F", "-127 GJ"),
        (8, 0x80, "FF", "-255 GJ"),
        (51, 0x00, "04CF9576", "80713078"),
        (0, 0x00, "2A", "42"),
        (51, 0x00, "00112233445566778899", "316059037807746189465"),
        (21, 0x00, "05", "5 W"),
        (25, 0x00, "05", "5 var"),
        (52, 0x42, "0102", "2.58 bar"),
        (70, 0x00, "05", "5 USgal"),
        (71, 0x00, "05", "5 USgal/min"),
        (85, 0x00, "05", "5 %RH"),
        (86, 0x41, "D1", "20.9 %O2"),
        (87, 0x42, "05", "0.05 m/s"),
        (88, 0x00, "05", "5 kJ/kg"),
        (89, 0x41, "46", "7.0 pH"),
        (90, 0x00, "05", "5 g/kg"),
        (93, 0x00, "05", "5 unit 93"),
        (255, 0x00, "05", "5 unit 255"),
    ],
)
def test_numbers(unit, sign_exponent, value, text):
    assert shown(unit, sign_exponent, value) == text


@pytest.mark.parametrize(
    ("unit", "sign_exponent", "value", "text"),
    [
        pytest.param(47, 0, "00030E33", "20:02:43", id="time of day"),
        pytest.param(47, 0, "00019258", "10:30:00", id="time of day, 103000"),
        pytest.param(47, 0, "0000", "00:00:00", id="midnight"),
        pytest.param(47, 0, "0003A980", "240000", id="no such hour"),
        pytest.param(47, 0x80, "05", "-5", id="negative time"),
        pytest.param(47, 0x41, "05", "0.5", id="fraction of a time"),
        pytest.param(47, 0, "00989680", "10000000", id="too long for a time"),
        pytest.param(48, 0, "00035BD0", "2022-01-12", id="date"),
        pytest.param(48, 0, "0000C41F", "2005-02-07", id="date with a leading zero, 50207"),
        pytest.param(48, 0, "00000000", "0", id="date that was never set"),
        pytest.param(48, 0, "00035C06", "220166", id="no such day"),
        pytest.param(50, 0, "000004CF", "12-31", id="month and day"),
        pytest.param(50, 0, "000000E5", "02-29", id="leap day"),
        pytest.param(50, 0, "00000065", "01-01", id="month and day, 101"),
        pytest.param(50, 0, "00000000", "0", id="month and day that were never set"),
        pytest.param(50, 0, "00030DA1", "200097", id="too long for month and day"),
        pytest.param(50, 0, "0003120F", "201231", id="date in place of month and day"),
        pytest.param(53, 0, "FF052B020A180B1A", "2026-11-24T10:02:43", id="clock with all flags"),
        pytest.param(
            53, 0, "00052B020A180B1A00", "0x00052b020a180b1a00 RTC", id="clock with a byte more"
        ),
        pytest.param(53, 0, "00052B020A180B1A", "2026-11-24T10:02:43", id="clock of the 382"),
        pytest.param(53, 0, "0000000000000000", "0x0000000000000000 RTC", id="clock never set"),
        pytest.param(
            53, 0, "052B020A180B1A", "0x052b020a180b1a RTC", id="clock with a byte missing"
        ),
        pytest.param(
            53, 0, "00052BC80A180B1A", "0x00052bc80a180b1a RTC", id="clock with 200 minutes"
        ),
        pytest.param(53, 0, "00052B0218180B1A", "0x00052b0218180b1a RTC", id="clock with 24 hours"),
        pytest.param(54, 0, "36383520333832000000", "685 382", id="text"),
        pytest.param(54, 0, "361B5B32", "0x361b5b32 ASCII", id="text with a terminal escape"),
        pytest.param(54, 0, "0000", "0x0000 ASCII", id="empty text"),
        pytest.param(79, 0, "011A0B18142B05", "2026-11-24T20:43:05", id="date and time of the 603"),
        pytest.param(79, 0, "00FF0B18142B05", "0x00ff0b18142b05 date and time", id="no such year"),
        pytest.param(79, 0, "00000000000000", "0x00000000000000 date and time", id="never set"),
        pytest.param(49, 0, "07E60A0B", "0x07e60a0b yyyy:mm:dd", id="unknown layout 49"),
        pytest.param(59, 0, "0001", "0x0001 bitfield", id="unknown layout 59"),
        pytest.param(63, 0, "01", "0x01 RTC-Q", id="unknown layout 63"),
        pytest.param(64, 0, "01", "0x01 datetime", id="unknown layout 64"),
        pytest.param(72, 0, "01", "0x01 unit 72", id="unknown layout 72"),
    ],
)
def test_values_that_are_not_plain_numbers(unit, sign_exponent, value, text):
    assert shown(unit, sign_exponent, value) == text


def test_units_of_the_protocol_description():
    described = """
        0:- 1:Wh 2:kWh 3:MWh 4:GWh 5:J 6:kJ 7:MJ 8:GJ 9:cal 10:kcal 11:Mcal 12:Gcal 13:varh
        14:kvarh 15:Mvarh 16:Gvarh 17:VAh 18:kVAh 19:MVAh 20:GVAh 21:W 22:kW 23:MW 24:GW 25:var
        26:kvar 27:Mvar 28:Gvar 29:VA 30:kVA 31:MVA 32:GVA 33:V 34:A 35:kV 36:kA 37:C 38:K 39:l
        40:m3 41:l/h 42:m3/h 43:m3xC 44:ton 45:ton/h 46:h 51:- 52:bar 55:m3x10 56:tonx10 57:GJx10
        58:min 60:s 61:ms 62:days 65:imp/l 66:l/imp 67:Hz 68:degree 69:% 70:USgal 71:USgal/min
    """
    for entry in described.split():
        number, _, name = entry.partition(":")
        assert kr.decode_block(60, (int(number), 0, b"\x05")).unit == name.strip("-")


@given(st.integers(0, 255), st.binary(min_size=1, max_size=255))
def test_numbers_are_exact_and_never_binary(sign_exponent, raw):
    value = kr.decode_number(sign_exponent, raw)
    exponent = (sign_exponent & 0x3F) * (-1 if sign_exponent & 0x40 else 1)
    integer = int.from_bytes(raw, "big") * (-1 if sign_exponent & 0x80 else 1)
    sign, digits, shown_exponent = value.as_tuple()
    assert int("".join(map(str, digits))) * (-1) ** sign == integer
    assert shown_exponent == exponent


@given(st.integers(0, 255), st.integers(0, 255), st.binary(min_size=1, max_size=30))
def test_no_value_crashes_and_none_is_unprintable(unit, sign_exponent, raw):
    reading = kr.decode_block(60, (unit, sign_exponent, raw))
    assert str(reading).isascii()
    assert str(reading).isprintable()
    assert str(reading)


@pytest.mark.parametrize(
    ("value", "multiply", "decimals", "svalue"),
    [
        ("16.235", "1000", None, "16235"),
        ("16.235", None, None, "16.235"),
        ("16.230", None, None, "16.230"),
        ("16.230", "1", None, "16.23"),
        ("16.235", None, 2, "16.24"),
        ("16.225", None, 2, "16.22"),
        ("16.2", None, 2, "16.2"),
        ("4.007", "1000", None, "4007"),
        ("0.05", None, 1, "0"),
        ("-0.4", None, 0, "0"),
        ("-0.04", "10", 0, "0"),
        ("2.5", None, 0, "2"),
        ("3.5", None, 0, "4"),
        ("1E+20", None, None, "100000000000000000000"),
        ("1959120400000000000000000", "1000.5", None, "1960099960200000000000000000"),
        ("100", "1", None, "100"),
        ("1E+2", "10", None, "1000"),
        ("0.001", "0.0001", None, "0.0000001"),
        ("0", "1000", None, "0"),
        ("0.000", "1000", None, "0"),
        ("12345678901234567890.123456789", "3", None, "37037036703703703670.370370367"),
    ],
)
def test_svalue(value, multiply, decimals, svalue):
    factor = None if multiply is None else Decimal(multiply)
    assert kr.svalue_of(Decimal(value), factor, decimals) == svalue


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=3), st.decimals(-1000, 1000, places=4)
)
def test_svalue_is_plain_and_exact(value, factor):
    svalue = kr.svalue_of(value, factor)
    assert set(svalue) <= set("-0123456789.")
    with localcontext() as context:
        context.prec = 500
        assert Decimal(svalue) == value * factor
