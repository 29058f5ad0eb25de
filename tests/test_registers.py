"""Registers: found by number, symbol or words; the table of the known ones."""

from __future__ import annotations

import json
import re

import pytest
from program import ROOT, run

import kamstrup_read as kr

DOCUMENTED = json.loads((ROOT / "tests" / "data" / "registers.json").read_text(encoding="utf-8"))
SYMBOLS = {known.symbol: known.id for known in kr.known_registers().values() if known.symbol}


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (60, 60),
        ("60", 60),
        ("060", 60),
        ("0x3c", 60),
        ("0X3C", 60),
        ("0", 0),
        ("65535", 65535),
        ("0xffff", 65535),
    ],
)
def test_numbers(name, number):
    assert kr.register_id(name) == number


def test_every_symbol_in_any_case_and_spelling():
    assert len(SYMBOLS) > 50
    for symbol, number in SYMBOLS.items():
        for spelling in (
            symbol,
            symbol.lower(),
            symbol.replace("-", " "),
            symbol.replace("-", "_"),
        ):
            assert kr.register_id(spelling) == number


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("EFFEKT1", 80),
        ("METER NO 1", 1010),
        ("serie no", 1001),
        ("E1HighRes", 266),
        ("V1HighRes", 239),
        ("CHECK SUM 1", 154),
        ("TOPMODUL ID", 157),
        ("ERRORHOURCOUNTER", 175),
        ("INA LITERIMP", 234),
    ],
)
def test_names_in_documents_of_kamstrup(name, number):
    assert kr.register_id(name) == number


@pytest.mark.parametrize(
    "name",
    [
        *("65536", "0x10000", "0x000003c", "0000060", "999999999999", "9" * 5000),
        *("0x", "0xg", "-1", "+60", " 60", "", "1.5", "6_0", "\u0666\u0660", "60,61"),
    ],
)
def test_what_is_neither_number_nor_symbol(name):
    with pytest.raises(kr.UsageError, match="no register"):
        kr.register_id(name)


@pytest.mark.parametrize("number", [-1, 65536, 70000])
def test_numbers_that_are_no_register(number):
    with pytest.raises(kr.UsageError, match="no register"):
        kr.register_id(number)


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("heat", "E1 (Heat energy)"),
        ("heat energy", "E1 (Heat energy)"),
        ("water", "VA (Hot tap water"),
        ("hot water", "VA (Hot tap water"),
        ("Hot Water", "VA (Hot tap water"),
        ("temp", "T1 (Flow (inlet) temperature"),
        ("flow1 now", "FLOW1 (Flow now)"),
        ("power", "POWER1 (Power now)"),
        ("hours", "HR (Hours in operation)"),
        ("serial", "SERIAL-NO (Serial number)"),
        ("cooling", "E3 (Cooling energy)"),
    ],
)
def test_words_suggest_the_register_that_people_want_first(words, first):
    with pytest.raises(kr.UsageError, match=re.escape(f": did you mean {first}")):
        kr.register_id(words)


def test_registers_that_few_want_are_suggested_too():
    with pytest.raises(
        kr.UsageError, match=r"did you mean T2 .* or E5 \(Return flow \(outlet\) energy"
    ):
        kr.register_id("outlet")


@pytest.mark.parametrize("name", ["", " "])
def test_nothing_suggests_nothing(name):
    with pytest.raises(kr.UsageError) as caught:
        kr.register_id(name)
    assert "did you mean" not in str(caught.value)


def test_every_word_must_match():
    with pytest.raises(kr.UsageError) as caught:
        kr.register_id("hot cooling tap")
    assert "(" not in str(caught.value)


def test_a_port_in_the_place_of_the_register():
    with pytest.raises(kr.UsageError, match="PORT comes first"):
        kr.register_id("/dev/ttyUSB0")


def test_a_suggested_register_is_never_read():
    run("/dev/null", "heat").failed(2, "no register 'heat': did you mean E1")


def test_the_table_has_the_documented_registers():
    known = kr.known_registers()
    for row in DOCUMENTED:
        assert known[row["id"]].symbol == (row["symbol"] or "")


PLAIN_UNITS = {  # by the first word of what the data say; all others are as they are
    "energy:": "GJ/MWh/kWh",
    "number": "",
    "?": "",
    "ASCII": "",
    "ASCII/number": "",
    "DST": "date+time",
    "RTC": "date+time",
    "hh:mm:ss": "time",
    "mm-dd": "month-day",
    "yy-mm-dd": "date",
}


def test_units_are_the_documented_ones():
    known = kr.known_registers()
    for row in DOCUMENTED:
        word = row["unit"].split()[0]
        if row["unit"] not in ("as configured", "l (per pulse)"):
            assert known[row["id"]].unit == PLAIN_UNITS.get(word, word), row


def test_the_table_is_in_order_and_plain():
    rows = kr.REGISTER_TABLE.strip("\n").splitlines()
    numbers = [int(row.split()[0]) for row in rows]
    assert numbers == sorted(set(numbers))
    assert list(kr.known_registers()) == numbers
    for register in kr.known_registers().values():
        assert 0 < register.id <= 0xFFFF
        assert re.fullmatch("[A-Z0-9-]*", register.symbol)
        assert register.description.isascii()
        assert 2 < len(register.description) <= 38


def test_symbols_are_different():
    symbols = [known.symbol for known in kr.known_registers().values() if known.symbol]
    assert len(set(symbols)) == len(symbols)
    assert not set(kr.ALIASES) & {re.sub("[ _-]", "", symbol) for symbol in symbols}


def test_registers_that_people_want_are_known():
    assert set(kr.WANTED_REGISTERS) <= set(kr.known_registers())


def test_no_unit_has_a_semicolon():  # which separates settings in Domoticz's API
    assert not any(";" in unit for unit in kr.UNITS.values())
