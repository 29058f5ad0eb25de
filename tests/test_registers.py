"""Registers: found by number or symbol; the table of the known ones.

situation                                        test
------------------------------------------------ ---------------------------------------------
60, 0x3c, E1 in any spelling                     test_a_number_..., test_every_symbol_...
neither number nor symbol                        test_anything_else_...
the table                                        test_the_documented_..., test_the_table_...
"""

from __future__ import annotations

import json
import pathlib
import re

import pytest

import kamstrup_read as kr

DATA = pathlib.Path(__file__).parent / "data" / "registers.json"
DOCUMENTED = json.loads(DATA.read_text(encoding="utf-8"))
KNOWN = kr.known_registers()
DOCUMENTED_UNITS = {  # the program's words for them; all others are the same
    **{"energy:": "GJ/MWh/kWh", "hh:mm:ss": "time", "mm-dd": "month-day", "yy-mm-dd": "date"},
    **{"DST": "date+time", "RTC": "date+time"},
    **{"number": "", "?": "", "ASCII": "", "ASCII/number": ""},
}


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (60, 60),
        ("060", 60),
        ("0x3c", 60),
        ("0X3C", 60),
        ("0", 0),
        ("65535", 65535),
        (0xFFFF, 65535),
    ],
)
def test_a_number_is_a_register_whether_it_is_known_or_not(name, number):
    assert kr.register_id(name) == number


def test_every_symbol_in_any_case_with_or_without_hyphens():
    symbols = {known.symbol: known.register for known in KNOWN.values() if known.symbol}
    assert symbols["E1"] == 60
    for symbol, number in symbols.items():
        for spelling in (symbol, symbol.lower(), symbol.replace("-", ""), f"{symbol}-"):
            assert kr.register_id(spelling) == number


@pytest.mark.parametrize(
    "name",
    [-1, 65536, "65536", "0x10000", "-1", "", "-", "1.5", "0xg", "60,61", "E99", "heat", 1.5, None],
)
def test_anything_else_is_refused_and_the_usual_ones_are_named(name):
    with pytest.raises(kr.UsageError, match=re.escape(f"no register {name!r}: heat is usually E1")):
        kr.register_id(name)


def test_the_documented_registers_have_their_symbols_and_units():
    for row in DOCUMENTED:
        known = KNOWN[row["id"]]
        word = row["unit"].split()[0]
        assert known.symbol == (row["symbol"] or "")
        if row["unit"] not in ("as configured", "l (per pulse)"):
            assert known.unit == DOCUMENTED_UNITS.get(word, word), row


def test_the_table_is_in_order_and_its_symbols_are_different():
    assert list(KNOWN) == sorted(KNOWN)
    assert len(KNOWN) == len(kr.REGISTER_TABLE.strip().splitlines())
    symbols = [known.symbol.replace("-", "") for known in KNOWN.values() if known.symbol]
    assert len(set(symbols)) == len(symbols)
    for number, known in KNOWN.items():
        assert number == known.register
        assert re.fullmatch("[A-Z0-9-]*", known.symbol)
        assert known.description.isascii()
        assert "-" not in (known.symbol, known.unit)
