#!/usr/bin/env python3
"""Read one register of a Kamstrup MULTICAL meter; print it, or push it to Domoticz.

    kamstrup_read.py /dev/ttyUSB0 60                       print: 16.235 GJ
    kamstrup_read.py /dev/ttyUSB0 E1 12 --multiply 1000    push 16235 to the sensor with idx 12
    kamstrup_read.py /dev/ttyUSB0 60 --create Heating      make a sensor for it, and push to that
    kamstrup_read.py /dev/ttyUSB0 all                      print every register that it has

From Python, read_register("/dev/ttyUSB0", "E1").value is Decimal("16.235").

It speaks the Kamstrup Meter Protocol (KMP), which Kamstrup describes in its document 5512-447. The
meter answers one request at a time, through an optical head, at 1200 baud:

    80 3f 10 01 00 3c b2 5f 0d                     request: register 60 (3c)
    40 3f 10 00 3c 08 04 43 00 00 3f 6b 15 59 0d   response: register 60, GJ, 16235 x 10^-3
"""
# /// script
# requires-python = ">=3.9"
# dependencies = ["pyserial>=3.5", "requests>=2.25"]
# ///

# ------------------------------------------------------------------------- 1. imports and types

from __future__ import annotations

import sys

if __name__ == "__main__":
    # Importing takes a second or two on a small computer, and Python would print a traceback on
    # Ctrl-C. Until the imports are done, Ctrl-C just ends the process. (Where it is ignored, as in
    # a job that a script has put into the background, it stays ignored.)
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

# Cron starts this script every few minutes, on computers where an import can cost half a second:
# what only some uses need (serial, requests, json, datetime, ...) is imported where it is used, and
# records are namedtuples, because typing.NamedTuple would import typing.
import argparse
import binascii
import os
import re
import struct
import time
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from errno import errorcode
from functools import cached_property
from io import BytesIO

Log = Callable[[str], None]
Block = tuple[int, int, bytes]  # unit id, sign and exponent, value
Blocks = dict[int, Block]  # by register id

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without importing typing
if TYPE_CHECKING:
    from threading import Thread
    from typing import Any, NoReturn, Optional, TypeVar, Union

    Found = TypeVar("Found")
    Value = Union[Decimal, str]
    RegisterName = Union[int, str]  # 60, "60", "0x3c" or "E1"
    PortName = Union[str, os.PathLike[str]]  # a device or a pySerial URL
    # Optional, as typing.get_type_hints can't evaluate `float | None` in Python 3.9. None is the
    # protocol's own value, or what the docstring says.
    Seconds = Optional[float]
    Deadline = Optional[float]  # a value of time.monotonic()
    Baudrate = Optional[int]
    Factor = Union[Decimal, int, None]
    Places = Optional[int]
    Arguments = Optional[Sequence[str]]
else:  # so that typing.get_type_hints works on the public functions
    Any = Value = RegisterName = PortName = Seconds = Deadline = Baudrate = object
    Factor = Places = Arguments = object

__all__ = [
    "UNITS",
    "ConnectionLostError",
    "DamagedResponseError",
    "Domoticz",
    "DomoticzError",
    "EchoOnlyError",
    "KamstrupError",
    "Meter",
    "MeterError",
    "NoResponseError",
    "OutputError",
    "PortBusyError",
    "PortError",
    "PortSharedError",
    "Reading",
    "Register",
    "UnknownRegisterError",
    "UsageError",
    "WrongResponseError",
    "decode_block",
    "decode_response",
    "encode_request",
    "find_frames",
    "known_registers",
    "main",
    "read_register",
    "register_id",
    "svalue_of",
]
__version__ = "1.1.0"

# ------------------------------------------------------------------------ 2. units and registers

# By KMP's unit id. Published tables with kW for 21 and kvar for 25 are wrong by a factor of 1000.
UNITS = {
    0: "",
    1: "Wh",
    2: "kWh",
    3: "MWh",
    4: "GWh",
    5: "J",
    6: "kJ",
    7: "MJ",
    8: "GJ",
    9: "cal",
    10: "kcal",
    11: "Mcal",
    12: "Gcal",
    13: "varh",
    14: "kvarh",
    15: "Mvarh",
    16: "Gvarh",
    17: "VAh",
    18: "kVAh",
    19: "MVAh",
    20: "GVAh",
    21: "W",
    22: "kW",
    23: "MW",
    24: "GW",
    25: "var",
    26: "kvar",
    27: "Mvar",
    28: "Gvar",
    29: "VA",
    30: "kVA",
    31: "MVA",
    32: "GVA",
    33: "V",
    34: "A",
    35: "kV",
    36: "kA",
    37: "C",
    38: "K",
    39: "l",
    40: "m3",
    41: "l/h",
    42: "m3/h",
    43: "m3xC",
    44: "ton",
    45: "ton/h",
    46: "h",
    47: "hh:mm:ss",
    48: "yy:mm:dd",
    49: "yyyy:mm:dd",
    50: "mm:dd",
    51: "",  # a plain number
    52: "bar",
    53: "RTC",
    54: "ASCII",
    55: "m3x10",
    56: "tonx10",
    57: "GJx10",
    58: "min",
    59: "bitfield",
    60: "s",
    61: "ms",
    62: "days",
    63: "RTC-Q",
    64: "datetime",
    65: "imp/l",
    66: "l/imp",
    67: "Hz",
    68: "degree",
    69: "%",
    70: "USgal",
    71: "USgal/min",
    79: "date and time",
    85: "%RH",
    86: "%O2",
    87: "m/s",
    88: "kJ/kg",
    89: "pH",
    90: "g/kg",
}

# Symbols in Kamstrup's documents that differ from those on the display; both without hyphens.
ALIASES = {
    "EFFEKT1": "POWER1",
    "TOPMODULID": "TOPMODULEID",
    "BOTMODULID": "BOTMODULEID",
    "ERRORHOURCOUNTER": "ERRORHOURS",
    "SERIENO": "SERIALNO",
}

# The registers that people look for, most wanted first: suggestions begin with these.
WANTED_REGISTERS = (60, 84, 68, 86, 87, 80, 74, 63, 1004, 1003, 1001)


class Register(namedtuple("Register", "id symbol unit description")):
    """What is known of a register; '' for no symbol or unit.

    The unit is the usual one: what counts is the unit in the meter's response.
    """

    __slots__ = ()
    id: int
    symbol: str
    unit: str
    description: str


def known_registers() -> dict[int, Register]:
    """The registers of REGISTER_TABLE (section 11) by id, in ascending order."""
    registers = {}
    for row in REGISTER_TABLE.strip().splitlines():
        number, symbol, unit, description = row.split(None, 3)
        register = Register(int(number), symbol.strip("-"), unit.strip("-"), description)
        registers[register.id] = register
    return registers


def register_id(name: RegisterName) -> int:
    """The id that 60, "60", "0x3c" or a symbol such as "E1" (in any case) stands for.

    Raises UsageError for anything else.
    """
    text = str(name).lower()
    if re.fullmatch("[0-9]{1,6}|0x[0-9a-f]{1,4}", text):
        number = int(text, 16 if "x" in text else 10)
        if number <= 0xFFFF:
            return number
    if "/" in text:
        raise UsageError(f"{name!r} is not a register: PORT comes first, then REGISTER")
    symbol = _plain_symbol(text)
    symbol = ALIASES.get(symbol, symbol)
    registers = known_registers()
    for known in registers.values():
        if known.symbol and _plain_symbol(known.symbol) == symbol:
            return known.id
    choices = " or ".join(_suggestions(registers, text.split())[:3])
    hint = f"did you mean {choices}?" if choices else "heat is usually E1, and hot tap water VA;"
    raise UsageError(f"no register {name!r}: {hint} --list-registers shows all")


def _suggestions(registers: dict[int, Register], words: list[str]) -> list[str]:
    """The registers that have every word in their symbol or description, most wanted first."""
    suggestions = []
    for number in dict.fromkeys([*WANTED_REGISTERS, *registers]):
        known = registers[number]
        about = f"{known.symbol} {known.description}".lower()
        if words and all(word in about for word in words):
            suggestions.append(f"{known.symbol or number} ({known.description})")
    return suggestions


def _plain_symbol(symbol: str) -> str:
    """METER-NO-1, "METER NO 1" and meter_no_1 are the same symbol."""
    return re.sub("[ _-]", "", symbol).upper()


# ------------------------------------------------------------------------------------- 3. errors


class KamstrupError(Exception):
    """Whatever keeps a reading from its destination; str() is a sentence for the user."""

    exit_code = 1


class OutputError(KamstrupError):
    """The output can't be written."""


class UsageError(KamstrupError):
    """The arguments are invalid."""

    exit_code = 2


class PortError(KamstrupError):
    """The port can't be opened, or has vanished."""

    exit_code = 3


class PortBusyError(PortError):
    """Another program has the port; it may be free soon."""


class MeterError(KamstrupError):
    """The meter could not be read."""

    exit_code = 5


class UnknownRegisterError(MeterError):
    """The meter has no such register."""

    exit_code = 6


class AttemptError(MeterError):
    """One attempt to read failed; another one may succeed.

    str() of a single attempt's error is a detail, or empty. Meter turns the errors of all attempts
    into one whose str() is a sentence for the user, with `seen` and `advice`: that of the highest
    weight, which says most about the cause.
    """

    seen = ""
    advice = ""
    weight = 0


class NoResponseError(AttemptError):
    """Nothing came back but stray zero bytes, which meters send by themselves."""

    exit_code = 4
    seen = "no response from the meter"
    advice = "press a button on the meter, or turn the head"
    weight = 1


class EchoOnlyError(NoResponseError):
    """Only the request came back: some heads repeat what they send."""

    seen = "only the head's echo"
    advice = (
        "the meter is asleep, or the head is not quite in place; press a button on the meter, or "
        "turn the head"
    )
    weight = 2


class ConnectionLostError(AttemptError):
    """The port failed, but it is still there."""

    exit_code = 3
    seen = "the connection to {port} was lost"
    advice = "is another program using it?"
    weight = 3


class DamagedResponseError(AttemptError):
    """Bytes came back, but no valid response."""

    seen = "a damaged response"
    advice = (
        "press the head flat against the meter's eye, shield it from light, and stop any other "
        "program that uses the port"
    )
    weight = 4


class WrongResponseError(AttemptError):
    """A valid response came back, to another request."""

    seen = "a response to another request"
    advice = "make sure that no other program uses the port"
    weight = 5


class PortSharedError(AttemptError):
    """Another program took bytes before they could be read."""

    seen = "another program is reading from {port}"
    advice = "stop it (Domoticz, a terminal program, another meter reader)"
    weight = 6


class DomoticzError(KamstrupError):
    """Domoticz was not reached, or refused."""

    exit_code = 7
    is_refusal = False  # True: it was not carried out; False: it may have been, unanswered


# --------------------------------------------------------------------------------- 4. KMP frames

# start | address, CID (command), data, CRC | stop. All between start and stop is byte-stuffed, so
# that a bare start or stop byte always is what it seems (5512-447, section 3).
REQUEST_START = b"\x80"
STOP = b"\x0d"
RESPONSE_FRAME = rb"\x40[^\x40\x0d]*\x0d"  # a pattern: from the last start to the first stop
ESCAPE = 0x1B
RESERVED = b"\x80\x40\x0d\x06\x1b"  # each is sent as ESCAPE and its complement
GET_REGISTER = b"\x3f\x10"  # the meter's address, and the CID
REGISTERS_PER_REQUEST = 8
CRC_SIZE = 2  # bytes
BLOCK_HEADER = struct.Struct(">HBBB")  # register id, unit id, length of value, sign and exponent


def crc(data: bytes) -> bytes:
    """CRC-16/XMODEM, high byte first; that of data with its CRC is 0 (5512-447, section 3.2)."""
    return binascii.crc_hqx(data, 0).to_bytes(CRC_SIZE, "big")


def stuff(data: bytes) -> bytes:
    """Escape every reserved byte."""
    stuffed = bytearray()
    for byte in data:
        if byte in RESERVED:
            stuffed += bytes((ESCAPE, byte ^ 0xFF))
        else:
            stuffed.append(byte)
    return bytes(stuffed)


def unstuff(stuffed: bytes) -> bytes:
    """Undo stuff(). Raises DamagedResponseError.

    In one pass: chained replaces would turn 1B E4 7F, a stuffed 1B and 7F, into 1B 7F, and then 80.
    """
    data = bytearray()
    remaining = iter(stuffed)
    for sent in remaining:
        is_escaped = sent == ESCAPE
        # If nothing follows, take 0: its complement is not reserved, and is rejected below.
        byte = next(remaining, 0) ^ 0xFF if is_escaped else sent
        if is_escaped != (byte in RESERVED):
            raise DamagedResponseError("a byte is not escaped as it should be")
        data.append(byte)
    return bytes(data)


def encode_request(registers: Sequence[int]) -> bytes:
    """The GetRegister frame for 1 to 8 register ids (5512-447, section 6.2.4)."""
    if not 1 <= len(registers) <= REGISTERS_PER_REQUEST:
        raise ValueError(f"a request is for 1 to {REGISTERS_PER_REQUEST} registers")
    content = GET_REGISTER + bytes((len(registers),))
    for register in registers:
        content += register.to_bytes(2, "big")
    return REQUEST_START + stuff(content + crc(content)) + STOP


def find_frames(received: bytes) -> list[bytes]:
    """The response frames in what was received.

    A frame begins at the last start byte before its stop byte: anything before is echo or noise.
    """
    return re.findall(RESPONSE_FRAME, received)


def decode_response(frame: bytes, registers: Sequence[int]) -> Blocks:
    """The blocks of a response to encode_request(registers).

    The meter leaves out the registers that it lacks (5512-447, section 6.2.4). The lengths of the
    others must add up exactly. Raises DamagedResponseError, or WrongResponseError for a valid frame
    that answers something else.
    """
    if find_frames(frame) != [frame]:
        raise DamagedResponseError("it is not one whole frame")
    content = unstuff(frame[1:-1])
    if len(content) < 2 + CRC_SIZE or crc(content) != b"\0\0":
        raise DamagedResponseError("its CRC is wrong")
    if not content.startswith(GET_REGISTER):
        raise WrongResponseError("another address or CID")
    data = BytesIO(content[2:-CRC_SIZE])
    blocks: Blocks = {}
    while header := data.read(BLOCK_HEADER.size):
        if len(header) < BLOCK_HEADER.size:
            raise DamagedResponseError("it ends in the middle of a block")
        register, unit, length, sign_exponent = BLOCK_HEADER.unpack(header)
        value = data.read(length)
        if length == 0 or len(value) < length:
            raise DamagedResponseError("its lengths do not add up")
        if register not in registers or register in blocks:
            raise WrongResponseError(f"register {register} is not expected")
        blocks[register] = (unit, sign_exponent, value)
    return blocks


# ----------------------------------------------------------------------------------- 5. readings


class Reading(namedtuple("Reading", "register value unit")):
    """One register as read: its id, its value, and the name of the value's unit ('' for none).

    The value is a Decimal with exactly the meter's digits, or a str: a date, a time or both in ISO
    form, a text, or the raw bytes as 0x... where they make no sense or their layout is not known.
    """

    __slots__ = ()
    register: int
    value: Value
    unit: str

    @property
    def digits(self) -> str:
        """The value as text, a number without an exponent."""
        return self.value if isinstance(self.value, str) else f"{self.value:f}"

    def __str__(self) -> str:
        return f"{self.digits} {self.unit}".rstrip()


def decode_number(sign_exponent: int, value: bytes) -> Decimal:
    """(-1)^SI x integer x 10^((-1)^SE x exponent), exactly (5512-447, section 4.2).

    sign_exponent: | SI | SE | exponent (6 bits) |; value: the integer, big-endian, unsigned.
    """
    integer = int.from_bytes(value, "big")
    if sign_exponent & 0x80:
        integer = -integer
    exponent = sign_exponent & 0x3F
    if sign_exponent & 0x40:
        exponent = -exponent
    return Decimal(f"{integer}E{exponent}")


# One function for each layout. All raise ValueError, OverflowError or struct.error for nonsense.


def _time_of_day(hhmmss: int) -> str:
    minutes, seconds = divmod(hhmmss, 100)
    return _in_form("%H:%M:%S", 0, 1, 1, *divmod(minutes, 100), seconds)


def _date(yymmdd: int) -> str:
    months, day = divmod(yymmdd, 100)
    return _in_form("%Y-%m-%d", *divmod(months, 100), day)


def _month_day(mmdd: int) -> str:
    return _in_form("%m-%d", 0, *divmod(mmdd, 100))  # 2000 has a 29th of February


def _clock_of_382(value: bytes) -> str:
    # flags, weekday, seconds, minutes, hours, day, month, year
    return _in_form("%Y-%m-%dT%H:%M:%S", *reversed(struct.unpack("2x6B", value)))


def _date_and_time(value: bytes) -> str:
    # summer time, year, month, day, hours, minutes, seconds
    return _in_form("%Y-%m-%dT%H:%M:%S", *struct.unpack("x6B", value))


def _in_form(
    form: str, year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0
) -> str:
    """A valid date and time as strftime(form) writes it; the year has two digits."""
    from datetime import datetime

    if not 0 <= year <= 99:
        raise ValueError("not two digits")
    return datetime(2000 + year, month, day, hour, minute, second).strftime(form)


def _text(value: bytes) -> str:
    text = value.decode("ascii").strip("\0 ")
    if not re.fullmatch("[ -~]+", text):
        raise ValueError("nothing to read")
    return text


def _unknown_layout(value: bytes) -> str:
    raise ValueError("shown as it is")


# By unit id: the others are plain numbers.
LAYOUTS_OF_DIGITS = {47: _time_of_day, 48: _date, 50: _month_day}
LAYOUTS_OF_BYTES = {
    49: _unknown_layout,
    53: _clock_of_382,
    54: _text,
    59: _unknown_layout,
    63: _unknown_layout,
    64: _unknown_layout,
    72: _unknown_layout,
    79: _date_and_time,
}


def decode_block(register: int, block: Block) -> Reading:
    """The reading in a block of a response (5512-447, sections 4.1 and 4.2)."""
    unit_id, sign_exponent, value = block
    shown: Value = decode_number(sign_exponent, value)
    unit = UNITS.get(unit_id, f"unit {unit_id}")
    try:
        if unit_id in LAYOUTS_OF_DIGITS:
            shown, unit = f"{shown:f}", ""
            # int() raises ValueError for a fraction: no date has one.
            return Reading(register, LAYOUTS_OF_DIGITS[unit_id](int(shown)), unit)
        if unit_id in LAYOUTS_OF_BYTES:
            shown = f"0x{value.hex()}"
            return Reading(register, LAYOUTS_OF_BYTES[unit_id](value), "")
    except (ValueError, OverflowError, struct.error):
        pass  # nonsense is shown as it is: a date never set is 0
    return Reading(register, shown, unit)


# -------------------------------------------------------------------------------- 6. MC66 frames

# The ASCII protocol of the MULTICAL 401, 66, III and 41 (5512-091, 5511-634, 5810-133, 5512-313).
# Energy, volume, hours and customer number come with unit, decimals and checksum, at 300 baud:
#     /?!  ->  identification  ->  ACK 000  ->  STX 6.8(0456.631*GJ)6.26(3447.381*m3)...! ETX BCC
# The others are digits only, requested at 300 baud; the response comes at 1200:
#     /#1  ->  ten fields; how many decimals some of them have depends on the configuration in  /#2

READ_OUT_REQUEST = "/?!\r\n"
READ_OUT_ACKNOWLEDGE = "\x06000\r\n"
READ_OUT_START = b"\x82"  # STX, with its parity
DATA_STRING_LENGTHS = {"/#1": 81, "/#2": 85}  # characters, by request
WRONG_PARITY = "\xff"  # stands for a character with wrong parity; it is not a 7-bit character

READ_OUT_GROUPS = {60: "6.8", 68: "6.26", 1004: "6.31", 1010: "0.0"}
READ_OUT_UNITS = {  # by register; some meters leave the unit out
    60: ("kWh", "MWh", "GJ", "Gcal", ""),
    68: ("m3", ""),
    1004: ("h", ""),
    1010: ("",),
}
DATA_FIELDS = {86: 3, 87: 4, 89: 5, 80: 6, 74: 7, 128: 8, 99: 9}  # position in /#1, by register
CONFIGURATION_FIELD = 7  # position of ABCCC in /#2
FIXED_SCALES = {86: ("C", 2), 87: ("C", 2), 89: ("K", 2), 99: ("", 0)}  # unit, decimals
SCALES_OF_CONFIGURATIONS = {  # by the CCC of ABCCC
    "107 116 119 120 136 137 151 178 179 184 197 198 199": {
        74: ("l/h", 0),
        80: ("kW", 1),
        128: ("kW", 1),
    },
    "158": {74: ("m3/h", 2), 80: ("kW", 0), 128: ("kW", 0)},
    "147 170 180 181": {74: ("m3/h", 2), 80: ("MW", 3), 128: ("MW", 3)},
}


def encode_characters(text: str) -> bytes:
    """7-bit characters with even parity in bit 7: 7E2 on a line that is 8N2."""
    return bytes(byte | _parity(byte) << 7 for byte in text.encode("ascii"))


def decode_characters(data: bytes) -> str:
    """The 7-bit characters of the data, WRONG_PARITY in place of those whose parity is wrong."""
    return "".join(WRONG_PARITY if _parity(byte) else chr(byte & 0x7F) for byte in data)


def _parity(byte: int) -> int:
    return bin(byte).count("1") % 2


def find_read_out(received: bytes) -> bytes | None:
    """STX groups ETX BCC, once it is complete."""
    # ETX, 03, has even parity as it is.
    found = re.search(READ_OUT_START + rb"[^\x82\x03]*\x03.", received, re.DOTALL)
    return found[0] if found else None


def find_identification(received: bytes) -> re.Match[bytes] | bytes | None:
    """The line with the meter's name, /KAM..., or even the read-out that follows it."""
    # With their parity, / is AF and CR is 8D.
    return re.search(rb"\xafKAM[^\x8d\n]*\x8d\n", received) or find_read_out(received)


def split_read_out(read_out: bytes) -> dict[int, str]:
    """What is between the parentheses of each group, by the group's register.

    Blank groups are left out: a MULTICAL 41, a water meter, has one for its energy. BCC is the sum
    of the characters after STX up to ETX, modulo 128. Its own parity does not count: a MULTICAL III
    was seen to send it wrong. Raises DamagedResponseError.
    """
    content, bcc = read_out[1:-1], read_out[-1]
    text = decode_characters(content)
    # Modulo 128 takes the parity away.
    if WRONG_PARITY in text or sum(content) % 128 != bcc % 128:
        raise DamagedResponseError("parity or checksum of the read-out is wrong")
    group = r"([0-9.*]+)\(([^()]*)\)(?:\r\n)?"
    groups = re.findall(group, text)
    contents = dict(groups)
    is_whole = re.fullmatch(rf"(?:{group})+!(?:\r\n)?\x03", text)
    if not is_whole or len(contents) < len(groups):
        raise DamagedResponseError("the read-out is not made of groups, each there once")
    return {
        register: contents[name]
        for register, name in READ_OUT_GROUPS.items()
        if contents.get(name, "").partition("*")[0].strip()
    }


def read_out_reading(contents: dict[int, str], register: int) -> Reading:
    """The reading of a register in what split_read_out() returned.

    Raises UnknownRegisterError where it is not there, DamagedResponseError where it makes no sense:
    too many digits mean that two read-outs ran together.
    """
    if register not in contents:
        has = ", ".join(map(str, contents)) or "none of them"
        raise UnknownRegisterError(f"this meter has no register {register}; it has {has}")
    content = contents[register]
    number, _, unit = content.replace(",", ".").partition("*")
    digits = len(number.replace(".", ""))
    known_lengths = (8, 11) if register == 1010 else (6, 7, 8)  # 1010: the customer number
    is_number = re.fullmatch(r"[0-9]+(\.[0-9]+)?", number)
    if not is_number or digits not in known_lengths or unit not in READ_OUT_UNITS[register]:
        raise DamagedResponseError(f"({content}) in the read-out")
    return Reading(register, Decimal(number), unit)


def find_data_string(received: bytes, length: int) -> tuple[str, list[str]] | None:
    """The text that precedes a data string of this length, and its ten fields; None without one.

    It has no checksum: its form and the parity of every character are all there is to check
    (5511-634, section 4.1). The parity of the CR does not count: it is 8D, or 0D if it is wrong.
    """
    text = decode_characters(received.replace(b"\x0d", b"\x8d"))
    first_field = length - 74  # characters; nine of 7, ten spaces and the CR are the rest
    found = re.search(f"([0-9]{{{first_field}}} (?:[-0-9][0-9]{{6}} ){{9}})\r", text)
    if not found:
        return None
    preceding = re.split("[^ -~]", text[: found.start()])[-1]
    return preceding, found[1].split()


def check_temperatures(fields: list[str]) -> None:
    """Raise DamagedResponseError unless T1 - T2 of /#1 is what the sixth field says."""
    t1, t2, difference = map(int, fields[3:6])
    if t1 - t2 != difference:
        raise DamagedResponseError("T1 - T2 does not match")


def scale_field(register: int, digits: str, configuration: str) -> Reading:
    """The reading in a field of /#1; configuration: the field of /#2 that ends with ABCCC.

    Raises MeterError where the place of the decimal point is not known.
    """
    abccc = configuration[-5:]
    ccc = abccc[2:]
    scales = dict(FIXED_SCALES)
    for codes, its_scales in SCALES_OF_CONFIGURATIONS.items():
        if ccc in codes.split():
            scales.update(its_scales)
    if register not in scales:
        raise MeterError(
            f"the meter sent {digits} for register {register}, but where its decimal point belongs "
            f"is not known for the configuration ABCCC = {abccc}"
        )
    unit, decimals = scales[register]
    return Reading(register, Decimal(int(digits)).scaleb(-decimals), unit)


# ----------------------------------------------------------------------------- 7. the serial line

BITS_PER_CHARACTER = 11  # start, 8 data (or 7 and parity), 2 stop
POLL_INTERVAL = 0.05  # s between two looks at a silent port
REOPEN_INTERVAL = 0.3  # s between two attempts to open a network port
WRITE_TIMEOUT = 10.0  # s
OPEN_TIMEOUT = 15.0  # s for a URL: finding the host, connecting, agreeing on settings
READ_SIZE = 4096  # bytes taken from a port at once
LONGEST_RECEIVED = 8192  # bytes kept of one attempt; a response has about a hundred
NETWORK_SCHEMES = ("socket", "rfc2217")
NETWORK_PORTS = "socket://HOST:PORT (raw TCP) or rfc2217://HOST:PORT (telnet with RFC 2217)"
NETWORK_SETTINGS = "raw TCP for socket://, telnet with RFC 2217 for rfc2217://"


def _ignore(text: str) -> None:
    """Discard the text."""


class Line:
    """A serial port with an IR head, or a pySerial URL: half duplex, one exchange at a time.

        open | quiet time | request | <= timeout | response | pause | next request
                          | request | <= timeout |          rest    | next request

    port: a device or URL; baudrate: of the requests; pause: s of quiet between a response and the
    next request; rest: s of quiet where no valid response came. The quiet time runs from the last
    byte sent or received. It is the rest from the moment a request goes out, and the pause once
    its response is in. A deadline is a value of time.monotonic(). Methods that use the port raise
    PortError, or AttemptError where another attempt may help.
    """

    def __init__(
        self,
        port: str,
        baudrate: int,
        pause: float,
        rest: float,
        log: Log = _ignore,
        progress: Log = _ignore,
    ) -> None:
        self.port = port
        self.is_network = _scheme(port) in NETWORK_SCHEMES
        self.has_fixed_baudrate = _scheme(port) == "socket"
        self.baudrate = baudrate
        self.received = b""  # since the last request
        self._pause = max(pause, BITS_PER_CHARACTER / baudrate)
        self._rest = rest
        self._log = log
        self._progress = progress
        self._serial: Any = None
        self._last_byte = time.monotonic()  # when it was written or seen
        self._wire_time = 0.0  # s that the last request takes to leave, once it is written
        self._quiet_time = 0.0  # s from the last byte to the next request

    def quiet_time_left(self) -> float:
        """Seconds until the next request may go out."""
        return max(0.0, self._last_byte + self._quiet_time - time.monotonic())

    def open(self, deadline: float) -> None:
        """Open the port for this program alone, waiting until the deadline while it is busy."""
        was_busy = False
        while self._serial is None:
            time.sleep(self.quiet_time_left())  # a port that was lost gets its rest
            try:
                self._serial = _open_serial(self.port, self.baudrate)
            except PortBusyError as error:
                time_left = deadline - time.monotonic()
                if time_left <= 0:
                    raise
                if not was_busy:
                    self._progress(f"{error}; {time_left:.0f} s left")
                was_busy = True
                time.sleep(min(REOPEN_INTERVAL if self.is_network else POLL_INTERVAL, time_left))
        if was_busy:  # the other program may have used it a moment ago
            self._last_byte = time.monotonic()
            self._quiet_time = self._pause

    def close(self) -> None:
        """Release the port."""
        port, self._serial = self._serial, None
        try:
            if port is not None:
                port.close()
        except Exception:  # it is gone
            pass

    def send(self, request: bytes) -> None:
        """Send a request as soon as the line has been quiet long enough; the port is open."""
        self.switch(self.baudrate)
        self._wait_for_quiet()
        self.write(request)

    def write(self, data: bytes) -> None:
        """Send at once, and in one write: the meter drops a request with a gap in it."""
        self._log(f"-> {data.hex(' ')}")
        self._guard(self._serial.write, data)
        self.received = b""
        self._last_byte = time.monotonic()
        self._wire_time = len(data) * BITS_PER_CHARACTER / self._serial.baudrate
        self._quiet_time = self._wire_time + self._rest

    def receive(
        self, find: Callable[[bytes], Found | None], timeout: float, longest: int
    ) -> Found | None:
        """What find() finds in all that was received since the request, as soon as it does.

        None after `timeout` s of silence; or, against bytes without end, when a response of
        `longest` bytes that began in time must be over.
        """
        silence = self._wire_time + timeout
        end = time.monotonic() + silence + longest * BITS_PER_CHARACTER / self._serial.baudrate
        heard = b""
        found = find(self.received)
        while found is None:
            # The clock is read before the port: if this process was stopped for seconds, what lies
            # in the port's buffer came in time all the same.
            now = time.monotonic()
            data = self._read(at_least=1)
            if data:
                heard = (heard + data)[-LONGEST_RECEIVED:]
                found = find(self.received)
            if now >= end or (not data and now - self._last_byte >= silence):
                break
        if found is not None:
            self._wire_time = 0.0
            self._quiet_time = self._pause
        if heard:
            self._log(f"<- {heard.hex(' ')}")
        return found

    def failure_of(self, request: bytes) -> AttemptError:
        """The error to raise where no response to this request was received."""
        other = self.received.replace(request, b"", 1).strip(b"\0")
        if other:
            return DamagedResponseError(f"{len(other)} bytes without a response in them")
        return EchoOnlyError() if request in self.received else NoResponseError()

    def switch(self, baudrate: int) -> None:
        """Set the port's speed."""
        if self._serial.baudrate != baudrate:
            self._guard(setattr, self._serial, "baudrate", baudrate)

    def _wait_for_quiet(self) -> None:
        """Let the quiet time pass. A byte restarts it, and is part of no response."""
        end = time.monotonic() + 2 * self._rest  # a late response may restart it
        self._read(at_least=0)
        while self.quiet_time_left() > 0:
            if time.monotonic() > end:
                raise DamagedResponseError("bytes without end")
            time.sleep(min(self.quiet_time_left(), POLL_INTERVAL))
            self._read(at_least=0)

    def _read(self, at_least: int) -> bytes:
        """Receive all waiting bytes; waits for `at_least` up to POLL_INTERVAL."""
        data: bytes = self._guard(self._read_waiting, at_least)
        if data:
            self.received = (self.received + data)[-LONGEST_RECEIVED:]
            self._last_byte = time.monotonic()
            # ser2net says so, and closes. What follows a frame's start may be a register's text.
            says_so = b"in use" in self.received.lower() and GET_REGISTER not in self.received
            if self.is_network and says_so:
                raise self._port_failure(OSError("the server says that it is in use"))
        return data

    def _read_waiting(self, at_least: int) -> bytes:
        data = b""
        while len(data) < READ_SIZE:
            waiting = self._serial.in_waiting
            size = max(waiting, 0 if data else at_least)
            chunk: bytes = self._serial.read(size) if size else b""
            if waiting and not chunk:
                raise EOFError("somebody else took what was waiting")
            if not chunk:
                break
            data += chunk
        return data

    def _guard(self, action: Callable[..., Any], *args: Any) -> Any:
        """Call into pySerial, and turn its exceptions into ours."""
        try:
            return action(*args)
        except Exception as error:  # it lets through OSError, termios.error, TypeError, ...
            raise self._port_failure(error) from error

    def _port_failure(self, error: Exception) -> KamstrupError:
        """Close the port (the next attempt reopens it); our error for pySerial's exception."""
        is_gone = not self.is_network and not os.path.exists(str(self._serial.port))
        self.close()
        self.received = b""
        self._last_byte = time.monotonic()
        self._quiet_time = self._rest
        if is_gone:
            return PortError(f"{self.port} vanished: was the IR head unplugged?")
        is_timeout = "Timeout" in type(error).__name__  # of a write
        if self.is_network or is_timeout or _system_error(error):
            return ConnectionLostError(_reason(error))
        return PortSharedError()  # bytes were announced, but somebody else took them


def _scheme(port: str) -> str:
    """The first part of a pySerial URL, such as socket of socket://host:1234."""
    return port.partition("://")[0].lower()


def _open_serial(name: str, baudrate: int) -> Any:
    """Open a port or pySerial URL: 8N2, and for this program alone.

    Raises PortBusyError where it may be free soon, else PortError.
    """
    try:
        from serial import STOPBITS_TWO, serial_for_url
    except Exception as error:  # a broken or foreign module may raise anything
        raise PortError(_library_advice("serial", "pyserial", error)) from error
    scheme = _scheme(name)

    def open_port() -> Any:
        port = serial_for_url(
            name,
            baudrate=baudrate,
            stopbits=STOPBITS_TWO,
            timeout=POLL_INTERVAL,
            exclusive=True,
            do_not_open=True,
        )
        if scheme != "rfc2217":  # it refuses one; its socket has its own
            port.write_timeout = WRITE_TIMEOUT
        port.open()
        return port

    try:
        return _call_with_timeout(OPEN_TIMEOUT, open_port) if "://" in name else open_port()
    except Exception as error:  # as in Line._guard, and ValueError for a wrong URL
        explain = _network_opening_error if scheme in NETWORK_SCHEMES else _opening_error
        raise explain(name, error) from error


def _library_advice(module: str, package: str, error: Exception) -> str:
    """Why a library can't be used, and what to do."""
    from importlib.util import find_spec

    try:
        origin = getattr(find_spec(module), "origin", None)
    except (ImportError, ValueError):
        origin = None
    if origin:
        return (
            f"{origin} is imported in place of {package}, or {package} is broken ({error}): "
            f"rename that file if it is yours, or else: pip uninstall {module}, and install "
            f"{package} again"
        )
    if sys.prefix != sys.base_prefix:  # in a virtual environment
        return f"{package} is not installed: pip install {package}"
    return f"{package} is not installed: sudo apt install python3-{module}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception of pySerial or requests, and those behind it."""
    while error is not None:
        # termios.error is no OSError, but has the same args.
        yield OSError(*error.args) if type(error).__module__ == "termios" else error
        error = error.__context__


def _system_error(error: BaseException) -> BaseException | None:
    """The system's error behind an exception, if there is one."""
    numbered = (cause for cause in _causes(error) if isinstance(getattr(cause, "errno", None), int))
    return next(numbered, None)


def _reason(error: BaseException) -> str:
    """The first cause of an exception, in the system's words where there are some."""
    *_, cause = _causes(error)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _opening_error(name: str, error: Exception) -> PortError:
    """The error for a local port that could not be opened."""
    kind = errorcode.get(getattr(_system_error(error), "errno", 0), "")
    text = str(error) if os.name == "nt" else ""  # there the kind is in the text alone
    if kind in ("EAGAIN", "EBUSY") or "PermissionError" in text:
        return PortBusyError(
            f"{name} is busy: another reading is waiting for the meter there, or another program "
            "is using it (Domoticz, a terminal program)"
        )
    if kind in ("EACCES", "EPERM"):
        return PortError(f"no permission to use {name}: {_permission_advice(name)}")
    nothing_found = name.startswith("hwgrep:") and not kind and isinstance(error, OSError)
    if kind in ("ENOENT", "ENXIO", "ENODEV") or "FileNotFoundError" in text or nothing_found:
        return PortError(f"{name or repr(name)} does not exist: {_missing_port_advice(name)}")
    if "://" in name and not kind:
        return PortError(
            f"{name} can't be opened: {_reason(error)}; a serial server is {NETWORK_PORTS}"
        )
    if kind in ("", "ENOTTY", "EINVAL", "EISDIR"):
        return PortError(f"{name} is not a serial port. {_ports_there_are()}")
    return PortError(f"{name} can't be opened: {_reason(error)}")


def _network_opening_error(name: str, error: Exception) -> PortError:
    """The error for a network port that could not be opened; most causes may soon pass."""
    if not re.match("[^:]+://[^/?#]+:[1-9][0-9]*($|[/?#])", name):
        return PortError(f"{name} can't be opened: it must look like {NETWORK_PORTS}")
    reason = _reason(error)
    if "RFC2217" in str(error):
        reason = "it does not speak RFC 2217: is that a raw TCP port? then use socket://"
    elif "'control'" in str(error):
        reason = f"its server has no modem lines: add ?ign_set_control to {name}"
    elif any(
        isinstance(cause, (LookupError, ValueError, RuntimeError)) for cause in _causes(error)
    ):
        # The URL makes no sense to pySerial, or the system has no thread for its reader.
        return PortError(f"{name} can't be opened: {reason}")
    else:
        reason += "; is the serial server running, and is that its address?"
    return PortBusyError(f"the network port {name} can't be opened: {reason}")


def _permission_advice(name: str) -> str:
    try:
        from grp import getgrgid  # type: ignore[attr-defined,unused-ignore]  # not on Windows

        group: str = getgrgid(os.stat(name).st_gid).gr_name
    except (ImportError, KeyError, OSError):
        group = "dialout"
    if group == "root":
        return f"only root may use it. Is it the port of the IR head? {_ports_there_are()}"
    if group == "tty":
        return (
            "a login console uses it; switch that off (sudo raspi-config, Interface Options, "
            "Serial Port), and restart the computer"
        )
    return f"sudo usermod -aG {group} $USER, then log out and in again"


def _missing_port_advice(name: str) -> str:
    if re.fullmatch("[^/]+:[0-9]+", name):
        return f"a serial server is {NETWORK_PORTS}"
    for folder in ("/dev/", "/dev/serial/by-id/"):
        if name and "/" not in name and os.path.exists(folder + name):
            return f"did you mean {folder}{name}?"
    return f"is the IR head plugged in? {_ports_there_are()}"


def _ports_there_are() -> str:
    from glob import glob

    names = sorted(glob("/dev/serial/by-id/*"))
    try:
        from serial.tools.list_ports import comports

        names += sorted(port.device for port in comports())
    except Exception:  # it looks into many places of the system, and may fail in any
        pass
    return f"Ports found: {', '.join(names[:8])}" if names else "No serial port was found"


def _call_with_timeout(seconds: float, action: Callable[[], Found]) -> Found:
    """The result of the action, or TimeoutError whatever it hangs in: its thread is left behind."""
    from concurrent.futures import Future
    from threading import Thread

    future: Future[Found] = Future()

    def run_action() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    thread = Thread(target=run_action, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the system has no thread for us: then without a time limit
        return action()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer for {seconds:.0f} s")
    return future.result()


# ------------------------------------------------------------------------------------- 8. meters

# A protocol is a class that says what is needed to speak it, and that has one method, read_once():
# one exchange on an open line, which returns those of the registers that the meter has. It raises
# AttemptError where another attempt may help, else KamstrupError.


class Kmp:
    """The Kamstrup Meter Protocol (5512-447).

    Request, 9 to 23 bytes; at most 1.6 s; response, 6 to 78 bytes; one byte time; next request.
    After silence or damage the meter discards requests for 1.6 s. Stuffing may double any frame.
    """

    models = "newer MULTICAL, flowIQ, 382, OMNIPOWER"  # that speak it, for --help
    baudrate = 1200
    has_fixed_baudrate = False
    wait = 10.0  # s, how long to keep trying
    timeout = 2.0  # s of silence after which an attempt counts as unanswered
    pause = 0.0  # s between a response and the next request; Line keeps one byte time in any case
    rest = 1.65  # s where no valid response came: 1.6, plus the adapter's delay
    registers: tuple[int, ...] = ()  # that can be requested; () for any
    registers_per_request = REGISTERS_PER_REQUEST
    can_read_all = True
    silence_hint = (  # for the user of a silent meter
        "a MULTICAL 401, 66, III or 41 needs --protocol mc66, a 382 or OMNIPOWER --baudrate 9600, "
        "and all others need neither"
    )
    longest_response = 200  # bytes: 8 registers with 10-byte values, most bytes stuffed

    def read_once(self, line: Line, registers: Sequence[int], timeout: float) -> list[Reading]:
        """One GetRegister exchange."""
        request = encode_request(registers)
        failure = None  # of the last frame

        def find_response(received: bytes) -> Blocks | None:
            nonlocal failure
            for frame in find_frames(received):
                try:
                    return decode_response(frame, registers)
                except AttemptError as error:  # noise, or a late one: the right one may follow
                    failure = error
            return None

        line.send(request)
        blocks = line.receive(find_response, timeout, self.longest_response)
        if blocks is None:
            raise failure or line.failure_of(request)
        return [decode_block(register, block) for register, block in blocks.items()]


class Mc66:
    """The ASCII protocol of the MULTICAL 401, 66, III and 41 (section 6).

    The meter ignores requests while it measures, and must be left alone between two of them.
    """

    models = "MULTICAL 401, 66, III, 41"
    baudrate = 300
    has_fixed_baudrate = True
    wait = 30.0
    timeout = 3.0
    pause = 5.0
    rest = 5.0
    registers = tuple(sorted({**READ_OUT_GROUPS, **DATA_FIELDS}))
    registers_per_request = 1
    can_read_all = False
    silence_hint = "other MULTICAL and flowIQ need no --protocol mc66"
    data_baudrate = 1200  # of the responses to /#1 and /#2
    leaving_time = 0.09  # s that an adapter may take to send what was written
    acknowledge_delay = 0.25  # s within which a meter that needs no ACK begins its read-out
    longest_read_out = 200  # characters

    def __init__(self) -> None:
        self._configuration = ""  # ABCCC of /#2, once it is known
        self._stray = ""  # what stood before the last data string

    def read_once(self, line: Line, registers: Sequence[int], timeout: float) -> list[Reading]:
        """One read-out, or one or two data strings."""
        (register,) = registers
        if register in READ_OUT_GROUPS:
            read_out = self._receive_read_out(line, timeout)
            return [read_out_reading(split_read_out(read_out), register)]
        if register not in DATA_FIELDS:
            has = " ".join(map(str, self.registers))
            raise UnknownRegisterError(f"--protocol mc66 has no register {register}; it has {has}")
        if not self._configuration and register not in FIXED_SCALES:
            fields = self._receive_fields(line, "/#2", timeout)
            self._configuration = fields[CONFIGURATION_FIELD]
        fields = self._receive_fields(line, "/#1", timeout)
        check_temperatures(fields)
        return [scale_field(register, fields[DATA_FIELDS[register]], self._configuration)]

    def _receive_read_out(self, line: Line, timeout: float) -> bytes:
        request = encode_characters(READ_OUT_REQUEST)
        line.send(request)
        if not line.receive(find_identification, timeout, self.longest_read_out):
            raise line.failure_of(request)
        line.receive(lambda received: None, self.acknowledge_delay, 0)
        if READ_OUT_START not in line.received:
            line.write(encode_characters(READ_OUT_ACKNOWLEDGE))
        read_out = line.receive(find_read_out, timeout, self.longest_read_out)
        if read_out is None:
            raise DamagedResponseError("the read-out has no end")
        return read_out

    def _receive_fields(self, line: Line, request_text: str, timeout: float) -> list[str]:
        if line.has_fixed_baudrate:
            raise PortError(
                "a socket:// port can't change its speed, which this register needs: use rfc2217://"
            )
        length = DATA_STRING_LENGTHS[request_text]
        request = encode_characters(request_text)
        line.send(request)
        line.receive(lambda received: None, self.leaving_time, 0)  # an echo may come at 300 baud
        line.switch(self.data_baudrate)
        found = line.receive(
            lambda received: find_data_string(received, length), timeout, 2 * length
        )
        if found is None:
            raise line.failure_of(request)
        preceding, fields = found
        # What follows the head's echo, which may have lost its beginning.
        stray = preceding.rpartition(request_text[1:])[2]
        # A 401 was seen to send an extra character before each string. The rest of something that
        # was lost would not be there twice; but digits may be the beginning of a late response to
        # /#2, whose first field is longer.
        if stray and (stray != self._stray or re.search("[0-9]", stray)):
            self._stray = stray
            raise DamagedResponseError("characters before the ten numbers")
        return fields


ATTEMPTS_IN_ALL = 2  # to read a group of registers, before they are requested one by one
MOST_LATE_RESPONSES = 20  # that may still come; an older one would be over a minute late

# By the name that --protocol takes. A new one needs its frames (before section 7), its class, and
# its entry here.
PROTOCOLS: dict[str, type[Kmp | Mc66]] = {"kmp": Kmp, "mc66": Mc66}


class Meter:
    """A meter at a port, for use in a `with` statement. The port is opened when it is needed.

    port: a device or a pySerial URL; protocol: "kmp" or "mc66"; baudrate: for KMP, 1200 if not
    given; wait: s to keep trying while the port is busy or the meter does not respond (0: one
    attempt); timeout: s of silence after which an attempt counts as unanswered; log: called with
    each frame as hex and each failure; progress: called with each failure that is not the last.
    Raises UsageError for arguments that make no sense.
    """

    def __init__(
        self,
        port: PortName,
        protocol: str = "kmp",
        baudrate: Baudrate = None,
        wait: Seconds = None,
        timeout: Seconds = None,
        log: Log = _ignore,
        progress: Log = _ignore,
    ) -> None:
        if protocol not in PROTOCOLS:
            raise UsageError(f"no protocol {protocol!r}: it is one of {', '.join(PROTOCOLS)}")
        self._protocol = known = PROTOCOLS[protocol]()
        if baudrate is None:
            baudrate = known.baudrate
        elif known.has_fixed_baudrate:
            raise UsageError(f"{protocol} has its own baudrates")
        self.wait = known.wait if wait is None else wait
        self.timeout = known.timeout if timeout is None else timeout
        if not (baudrate > 0 and self.timeout > 0 and self.wait >= 0):  # NaN is none of it
            raise UsageError("baudrate and timeout must be above 0, and wait at least 0")
        self._line = Line(os.fspath(port), baudrate, known.pause, known.rest, log, progress)
        self._log = log
        self._progress = progress
        self._unanswered = 0  # requests whose responses may still come

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def open(self, deadline: float) -> None:
        """Open the port, waiting until the deadline while it is busy. Raises PortError.

        read() and read_all() do so themselves: call it only to do something in between.
        """
        self._line.open(deadline)

    def read(self, register: RegisterName, deadline: Deadline = None) -> Reading:
        """One register, by id or symbol; deadline: in place of `wait` from now.

        Raises UsageError, PortError, UnknownRegisterError, or the most telling failure of all
        attempts.
        """
        number = register_id(register)
        if deadline is None:
            deadline = time.monotonic() + self.wait
        # One response more may be late: that to another program's request.
        readings = self._read_together([number], deadline, self._unanswered + 1)
        if not readings:
            raise UnknownRegisterError(
                f"the meter has no register {number}; `all` shows what it has"
            )
        return readings[0]

    def read_all(self, registers: Sequence[RegisterName] = ()) -> Iterator[Reading]:
        """Those of the registers (of all known ones, if none are given) that the meter has.

        Each comes as soon as it is known. `wait` runs from the last valid response. Once the meter
        has responded, a group that fails ATTEMPTS_IN_ALL times is requested register by register;
        after a failure, there is one attempt for each request until the meter responds again. At
        the end, raises what kept some from being read, if any; else as read().
        """
        named = dict.fromkeys(map(register_id, registers))
        numbers = list(named or known_registers())
        size = self._protocol.registers_per_request
        groups = [numbers[start : start + size] for start in range(0, len(numbers), size)]
        unread: list[int] = []
        failure: MeterError  # the last one
        attempts = 0  # any number, until the meter has responded
        deadline = time.monotonic() + self.wait
        while groups:
            group = groups.pop(0)
            try:
                readings = self._read_together(group, deadline, self._unanswered, attempts)
            except UnknownRegisterError:  # of mc66; in KMP the meter just leaves it out
                continue
            except AttemptError as error:
                failure = error
                attempts = 1
                if not self._has_time_left(deadline):
                    unread += sum(groups, group)
                    break
                if len(group) > 1:
                    groups = [[number] for number in group] + groups
                else:
                    unread += group
                continue
            except MeterError as error:  # the meter responded, but the value can't be told
                failure = error
                unread += group
                readings = []
            attempts = ATTEMPTS_IN_ALL
            yield from readings
            deadline = time.monotonic() + self.wait
        if unread == numbers:
            raise failure
        if unread:
            names = ", ".join(map(str, unread[:8]))
            if unread[8:]:
                names += f", ... ({len(unread)} in all)"
            raise type(failure)(f"registers not read: {names}; {failure}")

    def _read_together(
        self, registers: Sequence[int], deadline: float, late_responses: int, attempts: int = 0
    ) -> list[Reading]:
        """The registers that the meter has, as soon as one attempt brings them.

        An empty response names no register: while it may be a late one, to an earlier request, the
        registers are requested again at once. Keeps trying until the deadline, or for `attempts`
        attempts if that is not 0. Raises KamstrupError.
        """
        failures: list[AttemptError] = []
        while True:
            try:
                self._line.open(deadline)
                readings = self._protocol.read_once(self._line, registers, self.timeout)
            except AttemptError as failure:
                self._unanswered = min(self._unanswered + 1, MOST_LATE_RESPONSES)
                # A day's failures may be kept: without the tracebacks, which hold on to much.
                failure.__cause__ = failure.__context__ = None
                failures.append(failure.with_traceback(None))
                so_far = self._sum_up([failure])
                self._log(str(so_far))
                if len(failures) == attempts or not self._has_time_left(deadline):
                    raise self._sum_up(failures) from None
                self._progress(f"{so_far}; {deadline - time.monotonic():.0f} s left")
                continue
            if readings:
                # Responses come in order, so that none to earlier registers can follow; and late
                # ones to these registers are not empty.
                self._unanswered = 0
                return readings
            if late_responses == 0:
                return []
            late_responses -= 1
            failures.clear()  # the meter is there

    def _has_time_left(self, deadline: float) -> bool:
        """Whether the next request can go out before the deadline."""
        return time.monotonic() + self._line.quiet_time_left() < deadline

    def _sum_up(self, failures: list[AttemptError]) -> AttemptError:
        """The failure that says most, with a sentence about all attempts for the user."""
        worst = max(reversed(failures), key=lambda failure: failure.weight)  # the last of equals
        count = sum(type(failure) is type(worst) for failure in failures)
        sentence = worst.seen.format(port=self._line.port)
        if len(failures) > 1:
            sentence += f" in {count} of {len(failures)} attempts"
        if str(worst):
            sentence += f" ({'the last: ' if count > 1 else ''}{worst})"
        advice = worst.advice
        if self._line.is_network and not isinstance(worst, ConnectionLostError):
            settings = f"{self._line.baudrate} baud, 8N2, {NETWORK_SETTINGS}"
            advice = f"check the serial server's settings ({settings}); then {advice}"
        if isinstance(worst, NoResponseError):
            advice += f"; {self._protocol.silence_hint}"
        return type(worst)(f"{sentence}: {advice}")


def read_register(
    port: PortName,
    register: RegisterName,
    protocol: str = "kmp",
    baudrate: Baudrate = None,
    wait: Seconds = None,
    timeout: Seconds = None,
) -> Reading:
    """Read one register; the port is closed when this returns. Arguments and errors as of Meter."""
    with Meter(port, protocol, baudrate, wait, timeout) as meter:
        return meter.read(register)


# ----------------------------------------------------------------------------------- 9. Domoticz

CONNECT_TIMEOUT = 5.0  # s
READ_TIMEOUT = 10.0  # s
CALL_TIMEOUT = 30.0  # s for all of a call, against answers that trickle in
LONGEST_ANSWER = 65536  # bytes; one sensor has about 2,000
LONGEST_LIST = 4 * 1024 * 1024  # bytes; a house may have several hundred sensors
DUMMY_HARDWARE = 15  # its Type
# For getdevices: list those whose name begins with $, and those of hardware that is disabled, too.
HIDDEN_TOO = {"displayhidden": 1, "displaydisabled": 1}
OLD_NAMES = {  # up to 2022.2, type=devices for type=command&param=getdevices, and so on
    "gethardware": "hardware",
    "getdevices": "devices",
    "createdevice": "createdevice",
    "setused": "setused",
}

WRONG_PATH = (
    "does not know the address: is the path at the end of the URL wrong, or missing (such as "
    "/domoticz)?"
)
MAY_ONLY_VIEW = "refused: this user may only view, or has no access to this sensor"
UNKNOWN_IDX = "has no sensor with idx {}: look in Setup > Devices there"
NEEDS_ADMIN = "refused: making a sensor needs a user with Admin rights (Setup > Users)"
STATUS_CAUSES = {  # what an HTTP status, or its first digit, means, and what to do
    400: WRONG_PATH,
    404: WRONG_PATH,
    3: "redirects elsewhere: give the final address as --url",
    5: "reports an internal error, or a proxy in front of it does",
}
REFUSALS = (400, 401, 403, 404)  # after which a call was certainly not carried out
NEEDS_LOGIN = (
    "needs a login: set and export DOMOTICZ_USER and DOMOTICZ_PASSWORD, or add this computer to "
    "the trusted networks in Setup > Settings > Security"
)
WRONG_LOGIN = (
    "refused the login: check DOMOTICZ_USER and DOMOTICZ_PASSWORD; over plain http it may not be "
    "allowed (use https, or allow it in Setup > Settings > Security); or add this computer to the "
    "trusted networks there, and give no login"
)
IMPOSSIBLE_PASSWORD = (
    "needs another password: Domoticz knows no characters beyond Latin-1 (such as the euro sign)"
)
CERTIFICATE_ADVICE = {  # by OpenSSL's number of the reason
    9: "is this computer's clock right?",  # not yet valid
    10: "renew it (or is this computer's clock wrong?)",  # expired
    62: "use the name that it was issued for in the URL",  # another host
    64: "use the name that it was issued for in the URL",  # another IP address
    66: "give Domoticz one with a stronger key",
    67: "give Domoticz one from a CA with a stronger key",
    68: "give Domoticz one with a stronger signature",
}

COUNTER = "0x7100"  # the kinds of virtual sensors, as sensormappedtype
TEMPERATURE = "0x5005"
CUSTOM_SENSOR = "0xF31F"
CUSTOM_TYPE = 3  # a Counter's Type, as SwitchTypeVal
COUNTER_DIVIDER = 1000


class Sensor(namedtuple("Sensor", "kind description counter_type factor unit")):
    """A virtual sensor, described in the words of Domoticz's pages.

    counter_type: of a Counter, as SwitchTypeVal; factor: for what is pushed to it, None for 1.
    """

    __slots__ = ()
    kind: str
    description: str
    counter_type: int
    factor: Factor
    unit: str


# The recommended sensor by the unit of the reading; * is for all others. A Counter shows svalue /
# Divider and wants integers: hence its factor.
SENSORS = {
    "kWh": (COUNTER, "Counter, Type Energy, Divider 1000", 0, COUNTER_DIVIDER),
    "m3": (COUNTER, "Counter, Type Water, Divider 1000", 2, COUNTER_DIVIDER),
    "Wh MWh GWh J kJ MJ GJ cal kcal Mcal Gcal ton": (
        COUNTER,
        "Counter, Type Custom, unit {unit}, Divider 1000",
        CUSTOM_TYPE,
        COUNTER_DIVIDER,
    ),
    "C": (TEMPERATURE, "Temperature", 0, None),
    "*": (CUSTOM_SENSOR, 'Custom Sensor, Axis Label "{unit}"', 0, None),
}
QUANTITIES = (  # units that can stand for each other, in lower case, and the size of each
    {
        "j": 1,
        "kj": 1e3,
        "mj": 1e6,
        "gj": 1e9,
        "wh": 3600,
        "kwh": 3.6e6,
        "mwh": 3.6e9,
        "gwh": 3.6e12,
        "cal": 4.1868,
        "kcal": 4186.8,
        "mcal": 4.1868e6,
        "gcal": 4.1868e9,
    },
    {"w": 1, "kw": 1e3, "mw": 1e6, "gw": 1e9},
    {"l": 1, "liter": 1, "litre": 1, "m3": 1e3},
    {"l/h": 1, "m3/h": 1e3},
)
FORMS = {  # how a sensor rounds what it shows, in printf's words; by its Type or SubType
    "RFXMeter": ".3f",
    "Temp": ".1f",
    "Custom Sensor": "g",
}
WRONG_SENSORS = {  # by SubType: what becomes of a meter reading
    "Counter Incremental": "adds every value to those before",
    "kWh": "wants watt;watthour: one number is shown wrong, and never logged",
    "Switch": "ignores numbers",
}


def svalue_of(value: Decimal, multiply: Factor = None, decimals: Places = None) -> str:
    """The value as Domoticz wants it: plain digits, never an exponent.

    Multiplied exactly, rounded half-even to `decimals` places, and then without trailing zeros.
    """
    exact = Context(prec=1000)  # more digits than a value of 255 bytes times a factor can have
    if multiply is not None:
        value = exact.multiply(value, multiply)
    if decimals is not None:
        value = value.quantize(Decimal(10) ** -decimals, ROUND_HALF_EVEN, exact)
    digits = f"{value or abs(value):f}"  # never -0
    is_changed = multiply is not None or decimals is not None
    return digits.rstrip("0").rstrip(".") if is_changed and "." in digits else digits


def recommended_sensor(unit: str) -> Sensor:
    """The sensor for readings in this unit."""
    key = next((units for units in SENSORS if unit in units.split()), "*")
    kind, description, counter_type, factor = SENSORS[key]
    return Sensor(kind, description.format(unit=unit), counter_type, factor, unit)


def conversion(unit: str, shown_unit: str) -> float:
    """How many of the shown unit make one of the unit; 0 where they can't be compared."""
    unit = unit.lower()
    shown_unit = shown_unit.strip().replace("\u00b3", "3").replace("\u00b0", "").lower()
    for sizes in QUANTITIES:
        if unit in sizes and shown_unit in sizes:
            return sizes[unit] / sizes[shown_unit]
    return 1.0 if shown_unit in (unit, "") else 0.0


class Display(namedtuple("Display", "is_counter divider unit now value text")):
    """What a sensor would show after a push.

    now: the number that it shows before; value: the one after; text: that, rounded, with the unit.
    """

    __slots__ = ()
    is_counter: bool
    divider: float
    unit: str
    now: float
    value: float
    text: str


def display_of(device: dict[str, Any], svalue: str) -> Display | None:
    """What a sensor that getdevices describes would show of svalue; None if that is not known.

    That is svalue / Divider + AddjValue (the offset), in the unit of what it shows now.
    """
    from math import isfinite

    try:
        form = FORMS.get(device["Type"]) or FORMS[device["SubType"]]
        if device.get("SwitchTypeVal") == CUSTOM_TYPE:
            form = ".10g"
        now, _, unit = str(device["Data"]).partition(" ")  # such as "16.201 GJ"
        if device["Type"] == "Temp":
            unit = "C"  # what it wants; Domoticz may be set to show F
        divider = float(device.get("Divider", 1))
        value = float(svalue) / divider + float(device.get("AddjValue", 0))
        if not isfinite(value):
            return None
        text = f"{value:{form}} {unit}".rstrip()
        return Display(device["Type"] == "RFXMeter", divider, unit, float(now), value, text)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None


def warnings_about(
    reading: Reading,
    multiply: Factor,
    svalue: str,
    device: dict[str, Any],
    display: Display | None,
) -> Iterator[str]:
    """What would go wrong if svalue, made of the reading, was pushed to a sensor; and the cure."""
    sensor = recommended_sensor(reading.unit)
    make_one = f"make a {sensor.description} (--create does)"
    if display is None:
        what = WRONG_SENSORS.get(str(device.get("SubType")), f"does not show {reading}")
        yield f"this sensor {what}: {make_one}"
        return
    needed = display.divider * conversion(reading.unit, display.unit)  # in place of --multiply
    if abs(float(multiply or 1) - needed) > 0.001 * needed:
        cure = f"give --multiply {needed:.8g}" if needed else make_one
        if display.is_counter and sensor.kind == COUNTER and needed != sensor.factor:
            cure = f"if this is the right sensor, make it a {sensor.description} in its Edit dialog"
            if multiply != sensor.factor:
                cure += f", and give --multiply {sensor.factor}"
        yield f"it would show {display.text} for {reading}: {cure}"
        return
    if display.is_counter:
        if "." in svalue:
            yield "a Counter's log drops decimals: add --decimals 0"
        if display.value < display.now - 0.0005:  # Domoticz rounds
            yield "it shows a higher value already: consumption would come out negative"
    elif sensor.kind == COUNTER:
        yield f"this sensor does not show consumption per day: for that, {make_one}"


class Domoticz:
    """A Domoticz server with its JSON API. Any call may raise DomoticzError.

    url: http(s)://host:port, with a path where Domoticz has one; verify: whether to verify its
    https certificate; ca_file: of the CA that signed it, if requests does not know that CA; log:
    called with each request and answer. It connects directly: no proxies, no redirects.
    """

    def __init__(
        self,
        url: str,
        user: str = "",
        password: str = "",
        verify: bool = True,
        ca_file: str = "",
        log: Log = _ignore,
    ) -> None:
        self.url = url.rstrip("/")
        self.has_login = bool(user)
        # Domoticz's pages hash a password by its character codes, and thus as Latin-1.
        self._password_fits = all(ord(char) < 256 for char in password)
        coding = "latin-1" if self._password_fits else "utf-8"
        self._login = (user.encode(), password.encode(coding))
        self._verify = verify
        self._ca_file = ca_file if verify and self.url.startswith("https:") else ""
        self._log = log

    def push(self, idx: int, svalue: str) -> None:
        """Give the sensor with this idx a value, in plain digits (else ValueError)."""
        if idx < 1 or not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", svalue):  # it would take anything
            raise ValueError(f"idx {idx}, svalue {svalue!r}")
        self._call("udevice", UNKNOWN_IDX.format(idx), idx=idx, nvalue=0, svalue=svalue)

    def device(self, idx: int) -> dict[str, Any]:
        """What Domoticz has under this idx: its Name, Type, SubType, Data, ... Changes nothing."""
        devices = self._list("getdevices", rid=idx, **HIDDEN_TOO)
        if not devices:
            raise self._error(UNKNOWN_IDX.format(idx))
        return devices[0]

    def create(self, name: str, sensor: Sensor, svalue: str) -> int:
        """Make a sensor, set it up, and push to it at once; its idx.

        At once: Domoticz logs a new Counter's 0 at the next full five minutes, and takes all that
        comes later for that day's use.
        """
        done, doubt = "nothing was made", ""
        try:
            hardware = self._dummy_hardware()
            for device in self._list("getdevices", filter="all", used="all", **HIDDEN_TOO):
                if str(device.get("Name")).strip() == name:
                    raise self._error(f'already has a sensor "{name}", idx {self._idx_in(device)}')
            doubt = " (unless the call arrived all the same: look in Setup > Devices there)"
            if not hardware:
                answer = self._call(
                    "addhardware", htype=DUMMY_HARDWARE, port=1, name="Kamstrup", enabled="true"
                )
                hardware = self._idx_in(answer)
                done = 'the Dummy hardware "Kamstrup" was made, but no sensor'
            answer = self._call(
                "createdevice",
                idx=hardware,
                sensorname=name,
                sensormappedtype=sensor.kind,
                sensoroptions=f"1;{sensor.unit}" if sensor.kind == CUSTOM_SENSOR else "",
            )
            idx = self._idx_in(answer)
            done = (
                f'sensor {idx} "{name}" was made, but not set up ({sensor.description}), '
                "and has no value"
            )
            if sensor.kind == COUNTER:
                self._set_up_counter(idx, name, sensor)
            done = f'sensor {idx} "{name}" was made and set up, but has no value'
            self.push(idx, svalue)
        except DomoticzError as error:
            raise DomoticzError(f"{done}{'' if error.is_refusal else doubt}: {error}") from error
        return idx

    def _dummy_hardware(self) -> int:
        """The idx of the first enabled Dummy hardware; 0 if there is none."""
        for hardware in self._list("gethardware"):
            if hardware.get("Type") == DUMMY_HARDWARE and hardware.get("Enabled") == "true":
                return self._idx_in(hardware)
        return 0

    def _set_up_counter(self, idx: int, name: str, sensor: Sensor) -> None:
        from base64 import b64encode

        options = ""
        if sensor.counter_type == CUSTOM_TYPE:
            options = f"ValueQuantity:Custom;ValueUnits:{sensor.unit};"
        self._call(
            "setused",
            idx=idx,
            name=name,
            description="",
            switchtype=sensor.counter_type,
            addjvalue=0,
            addjvalue2=COUNTER_DIVIDER,
            customimage=0,
            used="true",
            options=b64encode(options.encode()).decode(),
        )

    def _idx_in(self, row: dict[str, Any]) -> int:
        """The idx in an answer, or in a row of one."""
        idx = str(row.get("idx"))
        if not re.fullmatch("[1-9][0-9]{0,8}", idx):
            raise self._error("sent an answer without a valid idx")
        return int(idx)

    def _list(self, call: str, **params: Any) -> list[dict[str, Any]]:
        """The result of a call that lists something; without one, there is nothing to list."""
        rows = self._call(call, **params).get("result", [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._error("sent a list that makes no sense")
        return rows

    def _call(self, call: str, refusal: str = "", **params: Any) -> dict[str, Any]:
        """The answer to a call by the name that this server has for it.

        refusal: what a status other than OK means.
        """
        query = {"type": "command", "param": call, **params}
        if call in OLD_NAMES and self._has_old_names:
            query = {"type": OLD_NAMES[call], **params}
        answer = self._ask(query)
        if not answer:
            raise self._refusal(refusal or f"refused {call}")
        return answer

    @cached_property
    def _has_old_names(self) -> bool:
        """Whether the server knows calls by OLD_NAMES.

        Found out once, with a call that every user may make: ERR is also what a new server answers
        when it refuses one.
        """
        return not self._ask({"type": "command", "param": "gethardware"})

    def _ask(self, query: dict[str, Any]) -> dict[str, Any]:
        """The answer, checked; {} if its status is not OK."""
        import json
        from urllib.parse import urlencode

        url = f"{self.url}/json.htm?{urlencode(query)}"
        longest = LONGEST_LIST if "filter" in query else LONGEST_ANSWER  # filter: of all sensors
        self._log(f"-> GET {url}")
        try:
            self._check_ca_file()
            status, body = _call_with_timeout(CALL_TIMEOUT, lambda: self._get(url, longest))
        except DomoticzError:
            raise
        except Exception as error:  # requests lets through some of urllib3's, http.client's, ssl's
            self._log(f"<- {self.scrub(repr(error))}")
            raise self._error(self._cause_of(error)) from error
        text = self.scrub(body.decode("utf-8", "replace"))[:500]
        if status == 200 and query.get("param", query["type"]).endswith("hardware"):
            text = f"({len(body)} bytes, which may have passwords of other hardware in them)"
        self._log(f"<- {status} {text}")
        if status != 200:
            failure = self._refusal if status in REFUSALS else self._error
            raise failure(f"{self._cause_of_status(status, query)} (HTTP {status})")
        try:
            answer = json.loads(body)
        except (RecursionError, ValueError):
            answer = None
        if not isinstance(answer, dict):
            raise self._error("sent an answer that is not JSON: is this the address of Domoticz?")
        return answer if answer.get("status") == "OK" else {}

    def _get(self, url: str, longest: int) -> tuple[int, bytes]:
        """Status and body of the answer, of which no more than the longest is read."""
        try:
            from requests import Request
            from requests.adapters import HTTPAdapter
            from urllib3.exceptions import ConnectTimeoutError
            from urllib3.util.retry import Retry
        except Exception as error:
            raise DomoticzError(_library_advice("requests", "requests", error)) from error

        class ConnectRetry(Retry):
            """Sends again only what can't have arrived: a sensor may add up what it gets."""

            def increment(self, *args: Any, **kwargs: Any) -> Any:
                if not isinstance(kwargs["error"], ConnectTimeoutError):
                    raise kwargs["error"]
                return super().increment(*args, **kwargs)

        # Domoticz never asks for a login (no WWW-Authenticate), so it is sent with each request.
        # The bare adapter knows no proxies, no redirects, no ~/.netrc and no compression.
        request = Request("GET", url, auth=self._login if self.has_login else None).prepare()
        adapter = HTTPAdapter(
            max_retries=ConnectRetry(total=3, backoff_factor=0.5, respect_retry_after_header=False)
        )
        try:
            response = adapter.send(
                request,
                stream=True,
                timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                verify=self._ca_file or self._verify,
            )
            body = response.raw.read(longest + 1)
            is_whole = len(body) <= longest and not response.raw.length_remaining
            if response.status_code == 200 and not is_whole:
                raise EOFError("its body is cut short, or too long")
            return response.status_code, body
        finally:
            adapter.close()

    def scrub(self, text: str) -> str:
        """A text from the server without user and password, should it repeat them."""
        from base64 import b64encode
        from json import dumps

        secrets = []
        for login in (*self._login, b64encode(b":".join(self._login))):
            for coding in ("utf-8", "latin-1"):
                plain = login.decode(coding, "replace")
                secrets += [plain, dumps(plain)[1:-1], dumps(plain, ensure_ascii=False)[1:-1]]
        for secret in sorted(secrets, key=len, reverse=True):  # one may be a part of another
            if len(secret) > 2:
                text = text.replace(secret, "***")
        return text

    def _error(self, what: str) -> DomoticzError:
        return DomoticzError(f"Domoticz at {self.url} {what}")

    def _refusal(self, what: str) -> DomoticzError:
        error = self._error(what)
        error.is_refusal = True
        return error

    def _check_ca_file(self) -> None:
        """Raise DomoticzError if the CA file can't be used."""
        from ssl import create_default_context

        try:
            if self._ca_file and not os.path.isdir(self._ca_file):
                create_default_context(cafile=self._ca_file)
        except OSError as error:
            raise DomoticzError(
                f"the CA file {self._ca_file} can't be used: {_reason(error)}; REQUESTS_CA_BUNDLE "
                "or CURL_CA_BUNDLE must name a PEM file"
            ) from error

    def _cause_of_status(self, status: int, query: dict[str, Any]) -> str:
        """What an HTTP status means, and what to do."""
        if status == 401:
            wrong = WRONG_LOGIN if self._password_fits else IMPOSSIBLE_PASSWORD
            return wrong if self.has_login else NEEDS_LOGIN
        if status == 403:  # to a push or a look at a sensor; else one is to be made
            return MAY_ONLY_VIEW if "svalue" in query or "rid" in query else NEEDS_ADMIN
        cause = STATUS_CAUSES.get(status) or STATUS_CAUSES.get(status // 100)
        if cause:
            return cause
        from http.client import responses

        return f"answered: {responses.get(status, 'a status that HTTP does not have')}"

    def _cause_of(self, error: BaseException) -> str:
        """Why there was no answer, and what to do."""
        from http.client import HTTPException, IncompleteRead
        from socket import gaierror, timeout
        from ssl import SSLError

        reasons: dict[Any, str] = {
            SSLError: "does not speak https: is this the https port, or should the URL begin with "
            "http:?",
            gaierror: "was not found: check the spelling of the host",
            ConnectionRefusedError: "refused the connection: is Domoticz running, and on this "
            "port?",
            (timeout, TimeoutError): "did not answer in time",
            (EOFError, IncompleteRead): "sent an answer that is cut short, or too long",
            ConnectionError: "closed the connection: should the URL begin with https:?",
            HTTPException: "does not speak http: should the URL begin with https:?",
        }
        for cause in _causes(error):
            # The second one is of urllib3 1 itself, for the certificate of another host.
            if type(cause).__name__ in ("SSLCertVerificationError", "CertificateError"):
                return self._cause_of_certificate(cause)
            for kind, reason in reasons.items():
                if isinstance(cause, kind):
                    return reason
        what = "can't be reached" if _system_error(error) else "gave no valid answer"
        return f"{what}: {self.scrub(_reason(error))}"

    def _cause_of_certificate(self, error: BaseException) -> str:
        """Why the certificate can't be verified, in OpenSSL's words, and what to do."""
        from requests.utils import DEFAULT_CA_BUNDLE_PATH

        reason = getattr(error, "verify_message", str(error))
        known_cas = self._ca_file or DEFAULT_CA_BUNDLE_PATH
        name_the_ca = f"its CA is not in {known_cas}: name the CA's file in REQUESTS_CA_BUNDLE"
        advice = CERTIFICATE_ADVICE.get(getattr(error, "verify_code", 62), name_the_ca)
        return (
            f"has a certificate that can't be verified ({reason}): {advice}; "
            "or give --insecure if you trust the network"
        )


# ------------------------------------------------------------------------------- 10. command line

DEFAULT_URL = "http://127.0.0.1:8080"
URL_FORM = r"https?://([\w-]+(\.[\w-]+)*\.?|\[[0-9a-fA-F:.]+\])(:[0-9]*)?(/[\w/.~+,:;=!$&'()*-]*)?"
HELP_WIDTH = 80
EPILOG = """\
User and password of Domoticz come from DOMOTICZ_USER and DOMOTICZ_PASSWORD.

exit codes:
  0    done
  1    the output can't be written
  2    wrong usage
  3    the port can't be opened, stays busy or has vanished
  4    the meter did not respond
  5    what came back was damaged, or no response to the request
  6    the meter has no such register
  7    Domoticz was not reached, or refused
  130  interrupted
"""
DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"  # what word processors turn hyphens into


class Parser(argparse.ArgumentParser):
    """Complains in one line, like the rest of the program."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (--help shows more)")


def number_between(
    low: float, high: float, kind: Callable[[str], Any] = float
) -> Callable[[str], Any]:
    """An argparse type: a number of this kind and range, in plain ASCII digits."""
    form = "[0-9]{1,12}" if kind is int else r"[-+]?[0-9]{1,20}(\.[0-9]{0,20})?"
    name = "whole number" if kind is int else "number"

    def parse_number(text: str) -> Any:
        if re.fullmatch(form, text) and low <= float(text) <= high:
            return kind(text)
        hint = " (write it without a comma)" if "," in text else ""
        raise argparse.ArgumentTypeError(f"{text!r} is not a {name} from {low} to {high}{hint}")

    return parse_number


def build_parser() -> Parser:
    """The command line."""
    protocols = PROTOCOLS.items()
    models = "; ".join(f"{name}: {protocol.models}" for name, protocol in protocols)
    waits = ", ".join(f"{name} {protocol.wait:g}" for name, protocol in protocols)
    timeouts = ", ".join(f"{name} {protocol.timeout:g}" for name, protocol in protocols)
    parser = Parser(
        prog="kamstrup_read.py",
        usage="%(prog)s [options] PORT REGISTER [IDX]",
        description="Read one register of a Kamstrup meter; print it, or push it to Domoticz.",
        epilog=EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=23, width=HELP_WIDTH
        ),
        allow_abbrev=False,
        add_help=False,
    )
    parser.color = False  # type: ignore[attr-defined]  # the same text everywhere, also in 3.14
    add = parser.add_argument_group("arguments").add_argument
    add(
        "port",
        metavar="PORT",
        nargs="?",
        help="serial port of the IR head, or a pySerial URL (socket://HOST:PORT)",
    )
    add(
        "register",
        metavar="REGISTER",
        nargs="?",
        help="60, 0x3c or a symbol such as E1; all: every known register that the meter has",
    )
    add(
        "idx",
        metavar="IDX",
        nargs="?",
        help="idx of the Domoticz sensor to push to; without it, the reading is printed",
    )
    add = parser.add_argument_group("options").add_argument
    add("-h", "--help", action="store_true", help="show this and exit")
    add("--version", action="store_true", help="show the version and exit")
    add("--list-registers", action="store_true", help="print the known registers and exit")
    add("--json", action="store_true", help="print as JSON")
    add(
        "-v",
        "--verbose",
        action="store_true",
        help="report on stderr: each frame, each attempt, the exchange with Domoticz",
    )
    add = parser.add_argument_group("meter").add_argument
    add("--protocol", choices=PROTOCOLS, help=f"{models} (default: kmp)")
    add(
        "--baudrate",
        metavar="N",
        type=number_between(300, 115200, int),
        help="9600 for a 382 or OMNIPOWER (default: 1200)",
    )
    add(
        "--wait",
        metavar="SECONDS",
        type=number_between(0, 86400),
        help="how long to keep trying, for the port to be free and the meter to respond; "
        f"0: one attempt (default: {waits})",
    )
    add(
        "--timeout",
        metavar="SECONDS",
        type=number_between(0.1, 3600),
        help="seconds of silence after which an attempt counts as unanswered "
        f"(default: {timeouts})",
    )
    add = parser.add_argument_group("Domoticz").add_argument
    add(
        "--create",
        metavar="NAME",
        help="instead of IDX: make the right sensor for this register, push to it, and print "
        "the command for cron",
    )
    add(
        "--multiply",
        metavar="FACTOR",
        type=number_between(-(10**9), 10**9, Decimal),
        help="multiply the reading before it is pushed",
    )
    add(
        "--decimals",
        metavar="N",
        type=number_between(0, 20, int),
        help="round what is pushed to N decimals",
    )
    add("--url", help=f"address of Domoticz; overrides DOMOTICZ_URL (default: {DEFAULT_URL})")
    add("--insecure", action="store_true", help="don't verify its https certificate")
    add(
        "--dry-run",
        action="store_true",
        help="show what would be pushed, and what Domoticz would show; change nothing",
    )
    return parser


def parse(arguments: Arguments = None) -> argparse.Namespace:
    """The arguments, checked: an option that would do nothing is an error too.

    Raises UsageError.
    """
    parser = build_parser()
    args, unknown = parser.parse_known_intermixed_args(arguments)
    if args.help or args.version:
        return args
    for word in (args.port, args.register, args.idx, *unknown):
        if word and word[0] in DASHES:
            parser.error(f"{word.split('=')[0]} begins with a long dash: type two hyphens")
    for word in unknown:  # not repeated in full: somebody may have tried --password
        if word.startswith("-"):
            parser.error(f"{word.split('=')[0]} is not an option")
    if unknown:
        parser.error("too many arguments: only PORT, REGISTER and IDX are expected")
    options = vars(args).items()
    given = {name for name, value in options if value is not None and value is not False}
    if args.list_registers:
        if given - {"list_registers", "json"}:
            parser.error("--list-registers takes no PORT, and of the options only --json")
        return args
    if args.register is None:
        parser.error("PORT and REGISTER are needed, such as /dev/ttyUSB0 60")
    if _is_register(args.port) and "/" not in args.register and not os.path.exists(args.port):
        parser.error(f"PORT is missing: it comes first, such as /dev/ttyUSB0 {args.port}")
    args.protocol = args.protocol or "kmp"
    args.register_id = None if args.register.lower() == "all" else register_id(args.register)
    _check_destination(parser, args)
    _check_options(parser, args, given)
    return args


def _is_register(word: str) -> bool:
    try:
        register_id(word)
    except UsageError:
        return False
    return True


def _check_destination(parser: Parser, args: argparse.Namespace) -> None:
    """Check IDX, --create and `all` against each other; IDX becomes an int."""
    protocol = PROTOCOLS[args.protocol]
    if args.idx is not None:
        try:
            args.idx = number_between(1, 999999999, int)(args.idx)
        except argparse.ArgumentTypeError as error:
            hint = (
                "a name with spaces needs quotes"
                if args.create
                else "Setup > Devices lists them; each command reads one register"
            )
            parser.error(f"IDX: {error}: {hint}")
    if args.create is not None:
        args.create = args.create.strip()
        if not args.create or re.search("[\0-\x1f\ud800-\udfff]", args.create):
            parser.error("--create needs a name for the sensor, without control characters")
        if args.idx is not None:
            parser.error("--create makes a sensor: leave out IDX")
    if args.register_id is None and (args.idx or args.create):
        parser.error("all can only be printed: one sensor takes one register")
    if args.register_id is None and not protocol.can_read_all:
        numbers = " ".join(map(str, protocol.registers))
        parser.error(f"all does not work with {args.protocol}: request one of {numbers}")


def _check_options(parser: Parser, args: argparse.Namespace, given: set[str]) -> None:
    """Refuse an option that would do nothing: whoever gave it misunderstood it."""
    protocol = PROTOCOLS[args.protocol]
    is_printed = not args.idx and not args.create
    for applies, useless, reason in (
        (
            args.create,
            {"multiply", "decimals"},
            "does nothing with --create, which knows what the sensor needs",
        ),
        (args.create, {"dry_run"}, "does not work with --create"),
        (is_printed, {"multiply", "decimals", "dry_run"}, "does nothing without IDX"),
        (is_printed, {"url", "insecure"}, "does nothing without IDX or --create"),
        (not is_printed, {"json"}, "does nothing with IDX or --create"),
        (
            protocol.has_fixed_baudrate,
            {"baudrate"},
            f"does nothing with {args.protocol}, which has its own speeds",
        ),
    ):
        if applies and useless & given:
            option = min(useless & given).replace("_", "-")
            parser.error(f"--{option} {reason}")
    if args.multiply == 0:
        parser.error("--multiply 0 would always push 0")


def domoticz_from(args: argparse.Namespace, log: Log) -> Domoticz:
    """The Domoticz of the options and the environment. Raises UsageError.

    A wrong URL is not repeated: there may be a secret in it.
    """
    from urllib.parse import urlsplit

    url = args.url or os.environ.get("DOMOTICZ_URL") or DEFAULT_URL
    user = _environment_text("DOMOTICZ_USER")
    password = _environment_text("DOMOTICZ_PASSWORD")
    if "@" in url:
        raise UsageError(
            "a login does not go into the URL: set DOMOTICZ_USER and DOMOTICZ_PASSWORD"
        )
    try:
        is_valid = urlsplit(url).port != 0
    except ValueError:
        is_valid = False
    if not is_valid or not re.fullmatch(URL_FORM, url, re.ASCII):
        raise UsageError(f"--url or DOMOTICZ_URL must look like {DEFAULT_URL} or https://host/path")
    if args.insecure and not url.startswith("https"):
        raise UsageError("--insecure does nothing without https")
    if bool(user) != bool(password) or ":" in user:
        raise UsageError(
            "set both DOMOTICZ_USER (without a colon) and DOMOTICZ_PASSWORD, or neither"
        )
    ca_file = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or ""
    return Domoticz(url, user, password, not args.insecure, ca_file, log)


def _environment_text(name: str) -> str:
    """An environment variable whose bytes are UTF-8, or else Latin-1, whatever the locale is."""
    data = os.fsencode(os.environ.get(name, ""))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def to_stdout(text: str, end: str = "\n") -> None:
    """Print a result. Raises OutputError."""
    if sys.stdout is None:
        raise OutputError("the output can't be written: it is closed")
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        raise
    except (OSError, ValueError) as error:
        raise OutputError(f"the output can't be written: {_reason(error)}") from error


def to_stderr(text: str) -> None:
    """Report something to the user, in one line."""
    try:
        if sys.stderr is not None:
            print(one_line(text), file=sys.stderr, flush=True)
    except (OSError, ValueError):  # nobody to report to
        pass


def one_line(text: str) -> str:
    """The text without the line breaks and escapes of a meter, a server or a file name."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())


def to_json(**fields: int | str | Decimal) -> str:
    """A JSON object; '' is null there, and a Decimal a number of exactly its digits."""
    from json import dumps

    members = []
    for name, value in fields.items():
        text = f"{value:f}" if isinstance(value, Decimal) else dumps(None if value == "" else value)
        members.append(f'"{name}": {text}')
    return "{" + ", ".join(members) + "}"


def reading_to_json(reading: Reading) -> str:
    """The reading, with symbol and description where they are known."""
    number, value, unit = reading
    known = known_registers().get(number) or Register(number, "", "", "")
    return to_json(
        register=number,
        symbol=known.symbol,
        description=known.description,
        value=value,
        unit=unit,
    )


def print_registers(as_json: bool) -> None:
    """Print the known registers."""
    if not as_json:
        to_stdout(REGISTER_TABLE.strip("\n"))
        return
    rows = [
        to_json(register=number, symbol=symbol, unit=unit, description=description)
        for number, symbol, unit, description in known_registers().values()
    ]
    to_stdout("[" + ",\n ".join(rows) + "]")


def print_all(meter: Meter, as_json: bool) -> None:
    """Print every known register that the meter has, each as soon as it is read.

    Once one is printed, a failure to read others goes to stderr, and is no error.
    """
    registers = known_registers()
    count = 0
    try:
        for reading in meter.read_all():
            if as_json:
                to_stdout((",\n " if count else "[") + reading_to_json(reading), end="")
            else:
                known = registers[reading.register]
                value = f"{reading.digits:>11} {reading.unit}"
                to_stdout(f"{known.id:>5}  {known.symbol:<12} {value:<21} {known.description}")
            count += 1
    except (MeterError, PortError) as error:
        if not count:
            raise
        to_stderr(f"kamstrup_read: {error}")
    finally:
        if as_json and count:
            to_stdout("]")
    if not count:
        raise UnknownRegisterError("the meter responds, but has none of the known registers")


def print_dry_run(
    domoticz: Domoticz, args: argparse.Namespace, reading: Reading, svalue: str
) -> None:
    """Print what a push would do, and what would be wrong with it."""
    to_stdout(f"meter:    {reading} (register {reading.register})")
    to_stdout(f"push:     svalue {svalue} to idx {args.idx} at {domoticz.url}")
    device = domoticz.device(args.idx)
    display = display_of(device, svalue)
    kind = f"{device.get('Type')}, {device.get('SubType')}"
    lines = [
        ("sensor:", f"{device.get('Name')} ({kind}), now {device.get('Data')}"),
        ("shows:", display.text if display else "not known for such a sensor"),
    ]
    for warning in warnings_about(reading, args.multiply, svalue, device, display):
        lines.append(("warning:", warning))
    for label, text in lines:
        to_stdout(f"{label:<9} {one_line(domoticz.scrub(text))}")
    if domoticz.has_login:
        to_stdout("note:     only a push shows whether this user may push")


def create_sensor(domoticz: Domoticz, args: argparse.Namespace, reading: Reading) -> None:
    """Make the right sensor for a reading, push to it, and print what was made."""
    sensor = recommended_sensor(reading.unit)
    value = _number_of(reading)
    svalue = svalue_of(value, sensor.factor)
    decimals = 0 if sensor.kind == COUNTER and "." in svalue else None
    svalue = svalue_of(value, sensor.factor, decimals)
    idx = domoticz.create(args.create, sensor, svalue)
    to_stdout(f'created:  sensor {idx} "{one_line(args.create)}": {sensor.description}')
    to_stdout(f"pushed:   {svalue}")
    to_stdout(f"in cron:  {cron_line(args, domoticz.url, idx, sensor.factor, decimals)}")


def cron_line(
    args: argparse.Namespace, url: str, idx: int, multiply: Factor, decimals: Places
) -> str:
    """The call that pushes to this idx from now on, as a crontab wants it."""
    from shlex import quote

    words = ["kamstrup_read.py", args.port, args.register, str(idx)]
    numbers = {
        "multiply": multiply,
        "decimals": decimals,
        "baudrate": args.baudrate,
        "wait": args.wait,
        "timeout": args.timeout,
    }
    for name, value in numbers.items():
        if value is not None:
            digits = f"{Decimal(str(value)):f}"  # never an exponent
            words += [f"--{name}", digits.removesuffix(".0")]
    if args.protocol != "kmp":
        words += ["--protocol", args.protocol]
    if url != DEFAULT_URL:
        words += ["--url", url]
    if args.insecure:
        words.append("--insecure")
    return " ".join(map(quote, words)).replace("%", r"\%")


def _number_of(reading: Reading) -> Decimal:
    """The value of a reading that a sensor can take. Raises UsageError."""
    if isinstance(reading.value, str):
        raise UsageError(
            f"register {reading.register} is {reading}, which is not a number for a sensor"
        )
    return reading.value


def start_importing_requests() -> Thread | None:
    """Import requests in a thread, while the meter responds: the import is slow.

    Until it is done, nothing may be imported that requests needs too: in Python 3.9, two threads
    that import the same module at the same time were seen to block each other for ever.
    """
    import datetime  # noqa: F401  (for readings; requests needs it too)
    from threading import Thread

    def import_requests() -> None:
        try:
            import requests  # noqa: F401
        except Exception:  # Domoticz reports it
            pass

    thread = Thread(target=import_requests, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the system has no thread for us
        return None
    return thread


def run(arguments: Arguments = None) -> None:
    """Do what the command line says. Raises KamstrupError."""
    args = parse(arguments)
    if args.help:
        to_stdout(build_parser().format_help(), end="")
        return
    if args.version:
        to_stdout(f"kamstrup_read {__version__}")
        return
    if args.list_registers:
        print_registers(args.json)
        return
    log = to_stderr if args.verbose else _ignore
    is_watched = sys.stderr is not None and sys.stderr.isatty()
    progress = to_stderr if is_watched and not args.verbose else _ignore
    domoticz = domoticz_from(args, log) if args.idx or args.create else None
    importer = None
    with Meter(
        args.port, args.protocol, args.baudrate, args.wait, args.timeout, log, progress
    ) as meter:
        if args.register_id is None:
            print_all(meter, args.json)
            return
        deadline = time.monotonic() + meter.wait
        if domoticz is not None:
            meter.open(deadline)
            importer = start_importing_requests()
        reading = meter.read(args.register_id, deadline)
    if importer is not None:
        importer.join()
    # The port is closed: others may read while Domoticz is contacted.
    if domoticz is None:
        to_stdout(reading_to_json(reading) if args.json else str(reading))
        return
    if args.create:
        create_sensor(domoticz, args, reading)
        return
    svalue = svalue_of(_number_of(reading), args.multiply, args.decimals)
    if args.dry_run:
        print_dry_run(domoticz, args, reading, svalue)
    else:
        domoticz.push(args.idx, svalue)


def main(arguments: Arguments = None) -> int:
    """Run the program; returns its exit code."""
    try:
        run(arguments)
    except KeyboardInterrupt:
        return 130
    except KamstrupError as error:
        to_stderr(f"kamstrup_read: {error}")
        return error.exit_code
    except BrokenPipeError:
        return 0
    except (ImportError, OSError) as error:  # an import failed: are too many files open?
        to_stderr(f"kamstrup_read: {_reason(error)}")
        return PortError.exit_code
    return 0


# --------------------------------------------------------------------------- 11. register table

# Registers of the MULTICAL 21 to 801, flowIQ, 382 and OMNIPOWER, from Kamstrup's documents: id,
# symbol on the display, usual unit, description; - for none. In rising order, as --list-registers
# prints them. Descriptions have up to 38 characters, so that `all` fits 80 columns.
REGISTER_TABLE = """
    1  A14           kWh         Active energy A14 (import)
    2  A23           kWh         Active energy A23 (export)
    3  R12           kvarh       Reactive energy R12
    4  R34           kvarh       Reactive energy R34
   13  -             kWh         Active energy A14, high resolution
   14  -             kWh         Active energy A23, high resolution
   19  -             kWh         Active energy A14, tariff 1
   23  -             kWh         Active energy A14, tariff 2
   27  -             kWh         Active energy A14, tariff 3
   31  -             kWh         Active energy A14, tariff 4
   39  -             kW          Highest power P14
   51  -             -           Meter number 1
   52  -             -           Meter number 2
   53  -             -           Meter number 3
   58  -             -           Pulse input
   60  E1            GJ/MWh/kWh  Heat energy
   61  E4            GJ/MWh/kWh  Flow (inlet) energy
   62  E5            GJ/MWh/kWh  Return flow (outlet) energy
   63  E3            GJ/MWh/kWh  Cooling energy
   64  TA2           GJ/MWh/kWh  Tariff register 2
   65  TA3           GJ/MWh/kWh  Tariff register 3
   66  TL2           -           Tariff limit 2
   67  TL3           -           Tariff limit 3
   68  V1            m3          Volume (the heating's own water)
   69  V2            m3          Volume, second flow sensor
   72  M1            ton         Mass of V1
   73  M2            ton         Mass of V2
   74  FLOW1         l/h         Flow now
   75  FLOW2         l/h         Flow now, second flow sensor
   80  POWER1        kW          Power now
   84  VA            m3          Hot tap water (pulse input A)
   85  VB            m3          Water or other meter (pulse input B)
   86  T1            C           Flow (inlet) temperature now
   87  T2            C           Return (outlet) temperature now
   88  T3            C           Temperature T3 now
   89  T1-T2         K           Temperature difference now
   91  P1            bar         Pressure in the flow
   92  P2            bar         Pressure in the return
   94  E2            GJ/MWh/kWh  Control energy
   95  E6            GJ/MWh/kWh  Tap water energy
   96  E7            GJ/MWh/kWh  Heat energy Y
   97  E8            m3xC        Volume x T1
   98  XDAY          month-day   Target (reading) date
   99  INFO          -           Info code now (0: no fault)
  104  METER-NO-VB   -           Number of the meter on input B
  110  E9            m3xC        Volume x T2
  112  METER-NO-2    -           Customer number, 8 high digits
  113  INFOEVENT     -           Count of info events
  114  METER-NO-VA   -           Number of the meter on input A
  122  T4            C           Temperature T4 now
  123  -             date        Date of this year's highest flow
  124  -             l/h         This year's highest flow
  125  -             date        Date of this year's lowest flow
  126  -             l/h         This year's lowest flow
  127  -             date        Date of this year's highest power
  128  -             kW          This year's highest power
  129  -             date        Date of this year's lowest power
  130  -             kW          This year's lowest power
  138  -             date        Date of this month's highest flow
  139  -             l/h         This month's highest flow
  140  -             date        Date of this month's lowest flow
  141  -             l/h         This month's lowest flow
  142  -             date        Date of this month's highest power
  143  -             kW          This month's highest power
  144  -             date        Date of this month's lowest power
  145  -             kW          This month's lowest power
  146  -             C           Average T1 of this year
  147  -             C           Average T2 of this year
  149  -             C           Average T1 of this month
  150  -             C           Average T2 of this month
  152  PROG-NO       -           Program number ABCCCCCC
  153  CONFIG-NO-1   -           Configuration number 1 (DDDEE)
  154  CHECKSUM-1    -           Software checksum
  155  HIGH-RES      Wh          Heat energy, high resolution (test)
  157  TOPMODULE-ID  -           Top module's id
  158  BOTMODULE-ID  -           Bottom module's id
  168  CONFIG-NO-2   -           Configuration number 2 (FFGGMN)
  171  -             -           Bottom module's id 2
  172  -             -           External module's id
  175  ERRORHOURS    h           Hours with a fault
  178  -             GJ/MWh/kWh  Differential energy dE
  179  -             GJ/MWh/kWh  Control energy cE
  180  -             m3          Differential volume dV
  181  -             m3          Control volume cV
  184  -             -           M-Bus primary address, module 1
  185  -             -           M-Bus secondary address, module 1
  218  -             -           M-Bus primary address, module 2
  219  -             -           M-Bus secondary address, module 2
  220  -             -           M-Bus primary address, ext. module
  221  -             -           M-Bus secondary address, ext. module
  222  -             -           Count of configuration changes
  223  -             l/m3        Volume, high resolution (test)
  224  -             m3          Pulse input A2
  225  -             m3          Pulse input B2
  228  -             -           Configuration number 3
  229  -             C           Average T1 of last auto-integration
  230  -             C           Average T2 of last auto-integration
  234  INA-LITERIMP  l/imp       Litres a pulse, input A
  235  INB-LITERIMP  l/imp       Litres a pulse, input B
  239  V1-HIGHRES    m3/l        Volume, high resolution (test)
  243  -             m3          Volume that flowed backwards
  259  -             m3/h        Nominal flow Qp
  266  E1-HIGHRES    Wh          Heat energy, high resolution (wraps)
  267  E3-HIGHRES    Wh          Cooling energy, high resolution
  292  -             C           Water temperature
  299  -             C           Temperature around the meter
  346  -             -           Module's software revision
  347  -             -           Customer number
  348  -             date+time   Date and time
  355  -             -           COP of this year
  362  -             GJ/MWh/kWh  Tariff register 4
  364  -             GJ/MWh/kWh  Heat energy A1
  365  -             GJ/MWh/kWh  Heat energy A2
  366  -             C           Limit of T5
  367  -             -           COP of this month
  368  -             -           Configuration number 4
  369  -             -           Info bits
  371  -             -           COP
  372  -             kW          Power on input B1
  379  -             C           Average T1 of the day
  380  -             C           Average T2 of the day
  381  -             C           Average T1 of the hour
  382  -             C           Average T2 of the hour
  383  -             date        Date of the year's highest flow V1
  385  -             date        Date of the year's highest power
  387  -             date        Date of the month's highest flow V1
  389  -             date        Date of the month's highest power
  398  -             C           T1 now, one decimal
  399  -             C           T2 now, one decimal
  400  -             K           T1-T2 now, one decimal
  404  -             -           Meter type
  473  -             GJ/MWh/kWh  Energy E10
  474  -             GJ/MWh/kWh  Energy E11
  477  -             C           Average T3 of the day
  478  -             C           Average T3 of the hour
  505  -             bar         Average P1 of the day
  506  -             bar         Average P2 of the day
  507  -             bar         Average P1 of the hour
  508  -             bar         Average P2 of the hour
  582  -             days        Battery days left
  675  -             s           Interval of wireless M-Bus telegrams
 1001  SERIAL-NO     -           Serial number
 1002  CLOCK         time        Time of day
 1003  DATE          date        Date
 1004  HR            h           Hours in operation
 1005  METER-TYPE    -           Software edition
 1010  METER-NO-1    -           Customer number (its 8 low digits)
 1023  -             kW          Power P14 now (import)
 1024  -             kW          Power P23 now (export)
 1032  -             -           Operation mode
 1047  -             date+time   Clock of a 382 or OMNIPOWER
 1054  -             V           Voltage L1
 1055  -             V           Voltage L2
 1056  -             V           Voltage L3
 1076  -             A           Current L1
 1077  -             A           Current L2
 1078  -             A           Current L3
 1080  -             kW          Power P14 of L1
 1081  -             kW          Power P14 of L2
 1082  -             kW          Power P14 of L3
 1126  -             -           Meter type of a 382, as text
 1268  -             -           M-Bus address
 1271  -             -           KMP address
 1344  -             kW          Power P23 of L1 (export)
 1345  -             kW          Power P23 of L2 (export)
 1346  -             kW          Power P23 of L3 (export)
 6026  -             -           Firmware revision A
 6031  -             -           Firmware revision B
"""

if __name__ == "__main__":
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if not sys.warnoptions:
            import warnings

            warnings.simplefilter("ignore")  # cron mails whatever a library has to say
        if any("rfc2217" in argument.lower() for argument in sys.argv):
            import threading

            # pySerial's reader thread prints a traceback when a server's bytes make no sense
            threading.excepthook = lambda _: None
        if sys.stdout is not None:
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        exit_code = main()
    except KeyboardInterrupt:
        exit_code = 130
    # The interpreter's own way out takes a tenth of the whole run, and would wait for threads that
    # were left behind in a call that hangs.
    os._exit(exit_code)
