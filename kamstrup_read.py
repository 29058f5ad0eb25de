#!/usr/bin/env python3
"""Read one register of a Kamstrup MULTICAL meter; print it, or push it to Domoticz.

    kamstrup_read.py /dev/ttyUSB0 60                       prints: 16.235 GJ
    kamstrup_read.py /dev/ttyUSB0 E1 12 --multiply 1000    pushes 16235 to the sensor with idx 12
    kamstrup_read.py /dev/ttyUSB0 all                      prints every register that the meter has

As a module: `read_register("/dev/ttyUSB0", 60).value` is the Decimal 16.235.
"""
# /// script
# requires-python = ">=3.9"
# dependencies = ["pyserial>=3.5", "requests>=2.25"]
# ///

# Cron starts this every few minutes on computers where an import can cost a second. What only some
# uses need (requests, json, datetime, ...) is imported where it is used.
from __future__ import annotations

import gc

if __name__ == "__main__":
    gc.disable()  # next to nothing is left lying about here, and looking for it costs more than a millisecond

import argparse
import binascii
import os
import re
import struct
import sys
import time
import warnings
from collections import namedtuple
from decimal import ROUND_HALF_EVEN, Context, Decimal
from operator import attrgetter

try:
    from serial import serial_for_url
    from serial.serialutil import Timeout
except Exception as error:
    if __name__ != "__main__":
        raise
    print(f"kamstrup_read: pyserial is missing ({error}): sudo apt install python3-serial", file=sys.stderr)
    sys.exit(3)

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, without the import
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Callable, NoReturn, TypeVar

    T = TypeVar("T")
    Known = dict[int, tuple[str, str, str]]  # symbol, usual unit, description by register id
    Block = tuple[int, int, bytes]  # unit id, sign and exponent, value
    Blocks = dict[int, Block]  # by register id
    Registers = Sequence[int]  # their ids
    Readings = dict[int, "Reading"]  # by register id
    Groups = dict[str, tuple[Decimal, str]]  # value and unit by the name of a read-out's group
    Params = dict[str, str | int]  # of a call of Domoticz
    Answer = dict[str, Any]
    Arguments = Sequence[str] | None  # of the command line; None: the process's own

__version__ = "1.0.0"

# ---------------------------------------------------------------- tables

# Unit ids of KMP, counted from 0; - is none, 51 a plain number. Published tables that give kW for 21
# and kvar for 25 are wrong by a factor of 1000.
UNIT_NAMES = """
- Wh kWh MWh GWh J kJ MJ GJ cal kcal Mcal Gcal varh kvarh Mvarh Gvarh VAh kVAh MVAh GVAh W kW MW GW var
kvar Mvar Gvar VA kVA MVA GVA V A kV kA C K l m3 l/h m3/h m3xC ton ton/h h hh:mm:ss yy:mm:dd yyyy:mm:dd
mm:dd - bar RTC ASCII m3x10 tonx10 GJx10 min bitfield s ms days RTC-Q datetime imp/l l/imp Hz degree %
USgal USgal/min"""
UNITS = dict(enumerate(UNIT_NAMES.split()))
UNITS.update({79: "date and time", 85: "%RH"})

# Registers of the MULTICAL 21 to 801, flowIQ, 382 and OMNIPOWER, from Kamstrup's documents: id, symbol on the
# display, usual unit (the one in the answer counts), description; - for none, ; between two. In rising order.
REGISTERS = """
1 A14 kWh Active energy A14 (import); 2 A23 kWh Active energy A23 (export); 3 R12 kvarh Reactive energy R12;
4 R34 kvarh Reactive energy R34; 13 - kWh Active energy A14, high resolution;
14 - kWh Active energy A23, high resolution; 19 - kWh Active energy A14, tariff 1;
23 - kWh Active energy A14, tariff 2; 27 - kWh Active energy A14, tariff 3;
31 - kWh Active energy A14, tariff 4; 39 - kW Highest power P14; 51 - - Meter number 1; 52 - - Meter number 2;
53 - - Meter number 3; 58 - - Pulse input; 60 E1 GJ/MWh/kWh Heat energy; 61 E4 GJ/MWh/kWh Flow (inlet) energy;
62 E5 GJ/MWh/kWh Return flow (outlet) energy; 63 E3 GJ/MWh/kWh Cooling energy;
64 TA2 GJ/MWh/kWh Tariff register 2; 65 TA3 GJ/MWh/kWh Tariff register 3; 66 TL2 - Tariff limit 2;
67 TL3 - Tariff limit 3; 68 V1 m3 Volume through the meter (the heating's own water);
69 V2 m3 Volume, second flow sensor; 72 M1 ton Mass of V1; 73 M2 ton Mass of V2; 74 FLOW1 l/h Flow now;
75 FLOW2 l/h Flow now, second flow sensor; 80 POWER1 kW Power now;
84 VA m3 Hot tap water (the water meter on pulse input A); 85 VB m3 Water or other meter on pulse input B;
86 T1 C Flow (inlet) temperature now; 87 T2 C Return (outlet) temperature now; 88 T3 C Temperature T3 now;
89 T1-T2 K Temperature difference now; 91 P1 bar Pressure in the flow; 92 P2 bar Pressure in the return;
94 E2 GJ/MWh/kWh Control energy; 95 E6 GJ/MWh/kWh Tap water energy; 96 E7 GJ/MWh/kWh Heat energy Y;
97 E8 m3xC Volume x T1; 98 XDAY month-day Target (reading) date; 99 INFO - Info code now (0: no fault);
104 METER-NO-VB - Number of the meter on input B; 110 E9 m3xC Volume x T2;
112 METER-NO-2 - Customer number, 8 high digits; 113 INFOEVENT - Count of info events;
114 METER-NO-VA - Number of the meter on input A; 122 T4 C Temperature T4 now;
123 - date Date of this year's highest flow; 124 - l/h This year's highest flow;
125 - date Date of this year's lowest flow; 126 - l/h This year's lowest flow;
127 - date Date of this year's highest power; 128 - kW This year's highest power;
129 - date Date of this year's lowest power; 130 - kW This year's lowest power;
138 - date Date of this month's highest flow; 139 - l/h This month's highest flow;
140 - date Date of this month's lowest flow; 141 - l/h This month's lowest flow;
142 - date Date of this month's highest power; 143 - kW This month's highest power;
144 - date Date of this month's lowest power; 145 - kW This month's lowest power;
146 - C Average T1 of this year; 147 - C Average T2 of this year; 149 - C Average T1 of this month;
150 - C Average T2 of this month; 152 PROG-NO - Program number ABCCCCCC;
153 CONFIG-NO-1 - Configuration number 1 (DDDEE); 154 CHECKSUM-1 - Software checksum;
155 HIGH-RES Wh Heat energy, high resolution (test); 157 TOPMODULE-ID - Top module's id;
158 BOTMODULE-ID - Bottom module's id; 168 CONFIG-NO-2 - Configuration number 2 (FFGGMN);
171 - - Bottom module's id 2; 172 - - External module's id; 175 ERRORHOURS h Hours with a fault;
178 - GJ/MWh/kWh Differential energy dE; 179 - GJ/MWh/kWh Control energy cE; 180 - m3 Differential volume dV;
181 - m3 Control volume cV; 184 - - M-Bus primary address, module 1;
185 - - M-Bus secondary address, module 1; 218 - - M-Bus primary address, module 2;
219 - - M-Bus secondary address, module 2; 220 - - M-Bus primary address, external module;
221 - - M-Bus secondary address, external module; 222 - - Count of configuration changes;
223 - l/m3 Volume, high resolution (test); 224 - m3 Pulse input A2; 225 - m3 Pulse input B2;
228 - - Configuration number 3; 229 - C Average T1 of the last auto-integration;
230 - C Average T2 of the last auto-integration; 234 INA-LITERIMP l/imp Litres a pulse, input A;
235 INB-LITERIMP l/imp Litres a pulse, input B; 239 V1-HIGHRES m3/l Volume, high resolution (test);
243 - m3 Volume that flowed backwards; 259 - m3/h Nominal flow Qp;
266 E1-HIGHRES Wh Heat energy, high resolution (wraps at 10,000,000 Wh);
267 E3-HIGHRES Wh Cooling energy, high resolution (test); 292 - C Water temperature;
299 - C Temperature around the meter; 346 - - Module's software revision; 347 - - Customer number;
348 - date+time Date and time; 355 - - COP of this year; 362 - GJ/MWh/kWh Tariff register 4;
364 - GJ/MWh/kWh Heat energy A1; 365 - GJ/MWh/kWh Heat energy A2; 366 - C Limit of T5;
367 - - COP of this month; 368 - - Configuration number 4; 369 - - Info bits; 371 - - COP;
372 - kW Power on input B1; 379 - C Average T1 of the day; 380 - C Average T2 of the day;
381 - C Average T1 of the hour; 382 - C Average T2 of the hour; 383 - date Date of the year's highest flow V1;
385 - date Date of the year's highest power; 387 - date Date of the month's highest flow V1;
389 - date Date of the month's highest power; 398 - C T1 now, one decimal; 399 - C T2 now, one decimal;
400 - K T1-T2 now, one decimal; 404 - - Meter type; 473 - GJ/MWh/kWh Energy E10; 474 - GJ/MWh/kWh Energy E11;
477 - C Average T3 of the day; 478 - C Average T3 of the hour; 505 - bar Average P1 of the day;
506 - bar Average P2 of the day; 507 - bar Average P1 of the hour; 508 - bar Average P2 of the hour;
582 - days Battery days left; 675 - s Interval of wireless M-Bus telegrams; 1001 SERIAL-NO - Serial number;
1002 CLOCK time Time of day; 1003 DATE date Date; 1004 HR h Hours in operation;
1005 METER-TYPE - Software edition; 1010 METER-NO-1 - Customer number (its 8 low digits);
1023 - kW Power P14 now (import); 1024 - kW Power P23 now (export); 1032 - - Operation mode;
1047 - date+time Clock of a 382 or OMNIPOWER; 1054 - V Voltage L1; 1055 - V Voltage L2; 1056 - V Voltage L3;
1076 - A Current L1; 1077 - A Current L2; 1078 - A Current L3; 1080 - kW Power P14 of L1;
1081 - kW Power P14 of L2; 1082 - kW Power P14 of L3; 1126 - - Meter type of a 382, as text;
1268 - - M-Bus address; 1271 - - KMP address; 1344 - kW Power P23 of L1 (export);
1345 - kW Power P23 of L2 (export); 1346 - kW Power P23 of L3 (export); 6026 - - Firmware revision A;
6031 - - Firmware revision B
"""
ALIASES = {"EFFEKT1": 80, "TOPMODULID": 157, "BOTMODULID": 158, "ERRORHOURCOUNTER": 175, "SERIENO": 1001}


def known_registers() -> Known:
    """Symbol, usual unit and description by register id, in rising order; '' for none."""
    rows = (row.split(None, 3) for row in REGISTERS.split(";"))
    return {int(number): (symbol.strip("-"), unit.strip("-"), text.strip()) for number, symbol, unit, text in rows}


def register_id(text: str) -> int:
    """The id that `60`, `0x3c` or a symbol such as `E1`, in any case, stands for. Raises UsageError."""
    if text.isascii() and text.isalnum() and len(text) <= 6:  # int() would take signs, spaces and underscores
        try:
            number = int(text, 16 if text[:2].lower() == "0x" else 10)
        except ValueError:
            number = -1
        if 0 <= number <= 0xFFFF:
            return number

    def bare(symbol: str) -> str:  # METER-NO-1, "METER NO 1", meter_no_1
        return re.sub("[ _-]", "", symbol).upper()

    symbols = {bare(symbol): number for number, (symbol, _, _) in known_registers().items() if symbol}
    symbols.update(ALIASES)
    if bare(text) in symbols:
        return symbols[bare(text)]
    from difflib import get_close_matches

    if "/" in text:
        raise UsageError(f"{text!r} is no register: PORT comes first, then REGISTER")
    close = " or ".join(get_close_matches(bare(text), symbols, n=3, cutoff=0.5))
    raise UsageError(f"no register {text!r}: {close and f'{close}? '}--list-registers shows all")


# ---------------------------------------------------------------- errors


class KamstrupError(Exception):
    """Whatever keeps a reading from where it should go; str() is a sentence for the user."""

    exit_code = 1


class UsageError(KamstrupError):  # the call makes no sense
    exit_code = 2


class PortError(KamstrupError):  # the port can't be opened, or vanished
    exit_code = 3


class PortBusy(PortError):  # another program has it
    pass


class MeterError(KamstrupError):  # the meter can't tell
    exit_code = 5


class NoSuchRegister(MeterError):
    exit_code = 6


class TryFailed(MeterError):
    """One try brought nothing to use; another may. str() is the detail, and of what all tries led to, all of it.

    `seen` and `advice` are for the user; of several failures that with the highest `weight` tells the most.
    """

    seen, advice, weight = "", "", 0

    def told(self, tries: str = "") -> str:
        """What was seen, in how many tries where it tells of several, and what to do."""
        detail = f" ({'the last: ' if tries else ''}{self})" if str(self) else ""
        return f"{self.seen}{tries}{detail}: {self.advice}"


class NoAnswer(TryFailed):  # apart from lone zero bytes, which meters send unasked
    exit_code = 4
    seen, advice, weight = "no answer from the meter", "press a button on it, or turn the head", 1


class EchoOnly(NoAnswer):  # some heads repeat the request
    seen, advice, weight = "only the head's echo", "turn the head or press a button on the meter", 2


class LineDropped(TryFailed):
    exit_code = 3
    seen, advice, weight = "closed by the network port", "is another program using it?", 3


class Damaged(TryFailed):
    seen, advice, weight = "a damaged answer", "press the head flat on the eye, keep light off it", 4


class OtherAnswer(TryFailed):  # a sound frame
    seen, advice, weight = "an answer to another question", "let no other program use the port", 5


class DomoticzError(KamstrupError):  # not reached, or it did not take the value
    exit_code = 7


# ---------------------------------------------------------------- frames

# start, [destination, CID, data, CRC high, CRC low], stop. What stands between start and stop is stuffed,
# so a bare start or stop byte is one wherever it stands (5512-447, section 3).
REQUEST_START, ANSWER_START, STOP = b"\x80", b"\x40", b"\x0d"
ESCAPE = 0x1B
RESERVED = b"\x1b\x80\x40\x0d\x06"  # each of them is sent as ESCAPE and its complement
METER, GET_REGISTER = 0x3F, 0x10
MAX_REGISTERS = 8  # in one request
BLOCK_HEAD = struct.Struct(">HBBB")  # register id, unit id, length of the value, sign and exponent


def crc(data: bytes) -> bytes:
    """CRC-16/XMODEM, high byte first; that of data and its CRC is 0 (5512-447, section 3.2)."""
    return binascii.crc_hqx(data, 0).to_bytes(2, "big")


def stuff(data: bytes) -> bytes:
    """Escape every reserved byte, ESCAPE itself first."""
    for byte in RESERVED:
        data = data.replace(bytes((byte,)), bytes((ESCAPE, byte ^ 0xFF)))
    return data


def unstuff(data: bytes) -> bytes:
    """Undo `stuff`, in one pass: chained replaces would decode 1B E4 7F twice. Raises Damaged."""
    plain = bytearray()
    rest = iter(data)
    for byte in rest:
        if byte == ESCAPE:
            byte = next(rest, 0) ^ 0xFF  # noqa: PLW2901
            if byte not in RESERVED:
                raise Damaged("an escape stands for a byte that needs none")
        elif byte in RESERVED:
            raise Damaged(f"byte {byte:02x} stands there without an escape")
        plain.append(byte)
    return bytes(plain)


def encode_request(registers: Registers) -> bytes:
    """The GetRegister frame for 1 to 8 register ids (5512-447, section 6.2.4)."""
    if not 1 <= len(registers) <= MAX_REGISTERS:
        raise ValueError(f"a request holds 1 to {MAX_REGISTERS} registers, not {len(registers)}")
    body = struct.pack(f">BBB{len(registers)}H", METER, GET_REGISTER, len(registers), *registers)
    return REQUEST_START + stuff(body + crc(body)) + STOP


def find_frames(heard: bytes) -> list[bytes]:
    """Every answer frame in what was heard; what stands before a frame's last start byte is noise."""
    return re.findall(ANSWER_START + b"[^" + ANSWER_START + STOP + b"]*" + STOP, heard)


def decode_answer(frame: bytes, registers: Registers) -> Blocks:
    """The blocks of the answer to `encode_request(registers)` by register id.

    The meter leaves out what it lacks (5512-447, section 6.2.4). Raises Damaged, or OtherAnswer where the
    frame is sound and answers something else.
    """
    if frame[:1] != ANSWER_START or frame[-1:] != STOP:
        raise Damaged("it has no start or no stop byte")
    plain = unstuff(frame[1:-1])
    if len(plain) < 4 or crc(plain) != b"\0\0":
        raise Damaged("its CRC is wrong")
    if plain[:2] != bytes((METER, GET_REGISTER)):
        raise OtherAnswer(f"address and CID {plain[:2].hex()}")
    blocks: Blocks = {}
    data = plain[2:-2]
    while data:
        register, unit, length, sign_exponent = BLOCK_HEAD.unpack_from(data.ljust(BLOCK_HEAD.size, b"\0"))
        data = data[BLOCK_HEAD.size :]
        value, data = data[:length], data[length:]
        if not 0 < len(value) == length or register in blocks:
            raise Damaged("the lengths in it do not add up")
        if register not in registers:
            raise OtherAnswer(f"register {register}")
        blocks[register] = (unit, sign_exponent, value)
    return blocks


# ---------------------------------------------------------------- readings

# Units of values that are not plain numbers. Dates and times: their digits (of the number, or three for each
# byte), how to write them in ISO form, and the part of it that counts.
TIME_OF_DAY, DATE, MONTH_DAY, CLOCK_382, ASCII, DATE_AND_TIME = 47, 48, 50, 53, 54, 79
SPELLED = (TIME_OF_DAY, DATE, MONTH_DAY)
ISO_FORMS = {
    TIME_OF_DAY: ("(..)(..)(..)", r"2000-01-01T\1:\2:\3", slice(11, 19)),
    DATE: ("(..)(..)(..)", r"20\1-\2-\3T00:00:00", slice(10)),
    MONTH_DAY: ("00(..)(..)", r"2000-\1-\2T00:00:00", slice(5, 10)),
    CLOCK_382: ("(?:...){2}0(..)0(..)0(..)0(..)0(..)0(..)", r"20\6-\5-\4T\3:\2:\1", slice(19)),
    DATE_AND_TIME: ("...0(..)0(..)0(..)0(..)0(..)0(..)", r"20\1-\2-\3T\4:\5:\6", slice(19)),
}
UNKNOWN_LAYOUTS = (49, 59, 63, 64, 72)


class Reading(namedtuple("Reading", "register value unit")):
    """One register as read: its id, its value and the name of the value's unit ('' for none).

    The value is a Decimal with exactly the meter's digits, or a str: a date, a time or both in ISO form,
    a text, or the raw bytes as 0x... where their layout is not known.
    """

    __slots__ = ()
    register: int
    value: Decimal | str
    unit: str

    @property
    def digits(self) -> str:
        """The value as text, a number without an exponent."""
        return self.value if isinstance(self.value, str) else f"{self.value:f}"

    def __str__(self) -> str:
        return f"{self.digits} {self.unit}".rstrip()


def decode_block(register: int, block: Block) -> Reading:
    """The reading in a block of an answer (5512-447, sections 4.1 and 4.2)."""
    unit, sign_exponent, raw = block
    number = decode_number(sign_exponent, raw)
    name = UNITS.get(unit, f"unit {unit}").strip("-")
    text = ""
    if unit in ISO_FORMS:
        text = _iso(unit, f"{number:06f}" if unit in SPELLED else "%03d" * len(raw) % tuple(raw))
    elif unit == ASCII:
        text = raw.decode("latin-1").strip("\0 ")
    elif unit not in UNKNOWN_LAYOUTS:
        return Reading(register, number, name)
    if text.isascii() and text.isprintable() and text:
        return Reading(register, text, "")
    if unit in SPELLED:  # a date that was never set is 0
        return Reading(register, f"{number:f}", "")
    return Reading(register, "0x" + raw.hex(), name)


def decode_number(sign_exponent: int, raw: bytes) -> Decimal:
    """(-1)^SI x integer x 10^((-1)^SE x exponent), exactly (5512-447, section 4.2).

    sign_exponent: | SI | SE | exponent (6 bits) |; raw: the integer, big-endian, unsigned.
    """
    integer = int.from_bytes(raw, "big")
    sign = "-" if sign_exponent & 0x80 and integer else ""
    return Decimal(f"{sign}{integer}E{'-' if sign_exponent & 0x40 else '+'}{sign_exponent & 0x3F}")


def _iso(unit: int, digits: str) -> str:
    """What the digits spell, in ISO form; '' for nonsense."""
    from datetime import datetime

    form, iso, part = ISO_FORMS[unit]
    found = re.fullmatch(form, digits)
    text = found.expand(iso) if found else ""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return ""
    return text[part]


def svalue_of(value: Decimal, multiply: Decimal | None = None, decimals: int | None = None) -> str:
    """The value as Domoticz gets it: plain digits, never an exponent.

    Multiplied exactly, rounded half-even to `decimals` places, and then without trailing zeros.
    """
    exact = Context(prec=1000)  # more digits than a value of 255 bytes times a factor can have
    if multiply is not None:
        value = exact.multiply(value, multiply)
    if decimals is not None:
        value = value.quantize(Decimal(10) ** -decimals, ROUND_HALF_EVEN, exact)
    digits = f"{value or abs(value):f}"  # never -0
    as_it_comes = (multiply, decimals) == (None, None)
    return digits if as_it_comes or "." not in digits else digits.rstrip("0").rstrip(".")


# ---------------------------------------------------------------- the line to the meter

SLICE = 0.05  # s, how long one look at the port takes at most while nothing comes
BITS = 11  # of a character on the line: start, 8 data (or 7 and parity), 2 stop
MAX_HEARD = 8192  # bytes kept of a try; an answer has some hundred
MAX_OPENING = 15  # s for a network port: finding the host, connecting, agreeing on settings


class Watch:
    """What happens on the line, for those who want to see it. This one looks away."""

    def trace(self, text: str) -> None:
        """A frame as hex, sent (->) or heard (<-), and what else is worth telling."""

    def asked(self) -> None:
        """A request is out; now the meter takes its time."""

    def failed(self, why: str, left: float) -> None:
        """A try failed or the port is busy; trying goes on for `left` s at most, or not at all if that is 0."""


class Meter:
    """A meter at a port. To be used in a `with` statement; the port is opened when it is first needed.

    port: a device or a pySerial URL; wait: s to keep trying while the port is busy or the meter does not
    answer, 0 for one try; timeout: s of silence that make a try unanswered. A subclass knows a protocol.
    """

    baudrate = 0
    wait = 0.0  # s
    timeout = 0.0  # s
    pause = 0.0  # s of quiet between an answer and the next request
    rest = 0.0  # s of quiet between a failed try's last byte, sent or heard, and the next request
    hint = ""  # for the user of a silent meter
    only: tuple[int, ...] = ()  # the registers there are, where the protocol fixes them; its speed it fixes then too

    def __init__(
        self,
        port: str,
        baudrate: int | None = None,
        wait: float | None = None,
        timeout: float | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.baudrate = baudrate or self.baudrate
        self.wait = self.wait if wait is None else wait
        self.timeout = self.timeout if timeout is None else timeout
        self.pause = max(self.pause, BITS / self.baudrate)
        self._name = port
        self._remote = "://" in port
        self._port: Any = None
        self._watch = watch or Watch()
        self._patience = Timeout(0)
        self._must_rest = 0.0  # s of quiet before the next request
        self._last = 0.0  # when the last byte was sent or heard, by the monotonic clock
        self._heard = b""  # since the last request

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self, register: int) -> Reading:
        """One register. Raises PortError, NoSuchRegister, or of all tries the failure that tells most."""
        for wait in (self.wait, 0):  # an empty answer tells nothing of its question: let it be said twice
            readings = self._ask([register], wait)
            if register in readings:
                return readings[register]
        has = f"it has {' '.join(map(str, self.only))}" if self.only else "all in its place shows what it has"
        raise NoSuchRegister(f"the meter has no register {register}; {has}")

    def _try(self, registers: Registers) -> Readings:
        """Ask once for what fits in one request; readings by id of what the meter has. Raises TryFailed."""
        raise NotImplementedError

    def _ask(self, registers: Registers, wait: float) -> Readings:
        self._patience = Timeout(wait)
        failures: list[TryFailed] = []
        left = wait
        while left or not failures:
            try:
                return self._try(registers)
            except TryFailed as failure:
                failure.__cause__ = failure.__context__ = None  # it may be kept for a day
                failures.append(failure.with_traceback(None))
            self._must_rest = self.rest
            left = self._patience.time_left()
            if left <= self._rest_left():
                left = 0
            self._watch.failed(failures[-1].told(), left)
        worst = max(reversed(failures), key=attrgetter("weight"))
        times = [*map(type, failures)].count(type(worst))
        told = worst.told(f" in {times} of {len(failures)} tries")
        raise type(worst)(f"{told}; {self.hint}" if isinstance(worst, NoAnswer) else told)

    def _send(self, request: bytes) -> None:
        """Send a request as soon as the meter may be asked."""
        if self._port is None:  # a network port that closes each connection is not to be opened all the time
            time.sleep(max(0, self._rest_left()))
        self._open()
        self._switch(self.baudrate)
        limit = Timeout(max(self._patience.time_left(), 2 * self._must_rest))
        while (left := self._rest_left()) > 0:
            if limit.expired():
                raise Damaged("bytes come without end")
            if left < SLICE:
                time.sleep(left)
            else:
                self._read()
        if self._last:  # what came until now belongs to no request
            self._do(within, MAX_OPENING, self._port.reset_input_buffer, self._remote)
        self._must_rest = self.pause
        self._write(request)

    def _write(self, data: bytes) -> None:
        """Send now, in one write: the meter drops a request with a gap in it."""
        self._heard = b""
        self._watch.trace(f"-> {data.hex(' ')}")
        self._do(self._port.write, data)
        self._last = time.monotonic() + len(data) * BITS / self._port.baudrate
        self._watch.asked()

    def _listen(self, find: Callable[[bytes], T | None], silence: float, longest: int) -> T | None:
        """What `find` finds in all that was heard since the last request, as soon as it does.

        None after `silence` s without a byte; or, against bytes without end, when an answer of `longest`
        bytes that began in time must be over.
        """
        limit = Timeout(max(0, -self._quiet()) + silence + longest * BITS / self._port.baudrate)
        fresh, found = b"", None
        while found is None and self._quiet() < silence and not limit.expired():
            data = self._read()
            if data:
                fresh += data
                self._heard = (self._heard + data)[-MAX_HEARD:]
                found = find(self._heard)
        if found is not None:  # so the request has left, however slow the line is thought to be
            self._last = time.monotonic()
        if fresh:
            self._watch.trace("<- " + fresh[-MAX_HEARD:].hex(" ").replace("0d ", "0d\n<- "))
        return found

    def _failure(self, request: bytes) -> TryFailed:
        """What it means that there was no answer in what was heard."""
        if self._heard.replace(request, b"", 1).strip(b"\0"):
            return Damaged(f"{len(self._heard)} bytes without an answer in them")
        return EchoOnly() if request in self._heard else NoAnswer()

    def _quiet(self) -> float:
        return time.monotonic() - self._last

    def _rest_left(self) -> float:
        return self._must_rest - self._quiet()

    def _open(self) -> None:
        busy = False
        while self._port is None:
            try:
                self._port = open_port(self._name, self.baudrate)
            except PortBusy:
                left = self._patience.time_left()
                if left <= 0:
                    raise
                if not busy:
                    self._watch.failed(f"{self._name} is busy: another program is using it", left)
                busy = True
                time.sleep(min(SLICE, left))
        if busy:  # whoever had the port may have used it this very moment
            self._last, self._must_rest = time.monotonic(), self.pause

    def _close(self) -> None:
        port, self._port = self._port, None
        try:
            port.close()
        except Exception:
            pass

    def _switch(self, baudrate: int) -> None:
        if self._port.baudrate != baudrate:
            self._do(setattr, self._port, "baudrate", baudrate)

    def _read(self) -> bytes:
        data: bytes = self._do(lambda: self._port.read(self._port.in_waiting or 1))
        if data:
            self._last = max(self._last, time.monotonic())
        return data

    def _do(self, action: Callable[..., Any], *args: Any) -> Any:
        try:
            return action(*args)
        except Exception as error:  # pySerial lets through OSError, termios.error, TypeError, ...
            self._close()
            if self._remote:
                self._last = time.monotonic()  # to rest from, before it is opened again
                raise LineDropped(str(error)) from error
            raise PortError(f"{self._name} vanished: was the IR head unplugged? ({error})") from error


def open_port(name: str, baudrate: int) -> Any:
    """Open a port or pySerial URL, 8N2 and for this program alone. Raises PortBusy or PortError."""
    try:
        port = serial_for_url(name, baudrate=baudrate, stopbits=2, timeout=SLICE, exclusive=True, do_not_open=True)
        if "://" not in name:
            port.write_timeout = 5.0
        within(MAX_OPENING, port.open, "://" in name)
        return port
    except Exception as error:  # as in Meter._do, and ValueError for a wrong URL
        raise _opening_error(name, error) from error


def _opening_error(name: str, error: Exception) -> PortError:
    from errno import errorcode

    kind, text = errorcode.get(getattr(error, "errno", None) or 0), str(error)
    if kind in ("EAGAIN", "EBUSY") or (os.name == "nt" and "PermissionError" in text):  # no number comes from Windows
        return PortBusy(f"{name} stayed busy: another program is using it")
    if "://" in name:
        reason = text if re.search(":[0-9]", name) else "it must look like socket://HOST:PORT"
        return PortError(f"the network port {name} can't be opened: {reason}")
    if kind in ("EACCES", "EPERM"):
        return PortError(f"no permission to use {name}: sudo usermod -aG dialout $USER, then log in again")
    from glob import glob

    from serial.tools.list_ports import comports

    names = sorted(glob("/dev/serial/by-id/*")) + sorted(port.device for port in comports())
    there_is = ", ".join(names[:8]) or "none"
    missing = kind in ("ENOENT", "ENXIO", "ENODEV") or "FileNotFoundError" in text
    what = "does not exist: is the IR head plugged in?" if missing else "is no serial port."
    return PortError(f"{name or repr(name)} {what} There is {there_is}")


def within(seconds: float, action: Callable[[], T], needed: bool = True) -> T:
    """The result of the action, or TimeoutError, whatever it hangs in: it is left behind in its thread.

    needed: False for an action that can't hang.
    """
    if not needed:
        return action()
    from concurrent.futures import Future
    from threading import Thread

    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"nothing happened for {seconds} s")
    return future.result()


class KmpMeter(Meter):
    """A meter that speaks the Kamstrup Meter Protocol (5512-447).

    request, 9-23 bytes | < 1.6 s | answer, 6-78 bytes | a byte's time | next request
    After silence or damage the meter discards requests for 1.6 s.
    """

    baudrate = 1200
    wait, timeout = 10.0, 2.0
    rest = 1.65  # 1.6 and what an adapter may take to send on what was written
    hint = "a MULTICAL 401, 66, III or 41 needs --protocol mc66, a 382 or OMNIPOWER --baudrate 9600"

    def read_all(self, registers: Registers) -> Iterator[Reading]:
        """Those of the registers that the meter has, each as soon as it is known.

        A group that fails for `wait` s is asked for register by register, once each. Raises, after the last
        reading, what kept others from being read.
        """
        unread: list[int] = []
        for at in range(0, len(registers), MAX_REGISTERS):
            group = registers[at : at + MAX_REGISTERS]
            try:
                yield from self._ask(group, self.wait).values()
                continue
            except TryFailed as failure:
                cause = failure
            lost = []
            for register in group:
                try:
                    yield from self._ask([register], 0).values()
                except TryFailed:
                    lost.append(register)
            if len(lost) == len(group):  # nobody is there any more
                unread += registers[at:]
                break
            unread += lost
        if unread:
            names = ", ".join(map(str, unread[:8])) + (", ..." if len(unread) > 8 else "")
            raise type(cause)(f"registers not read: {len(unread)} ({names}); {cause}")

    def _try(self, registers: Registers) -> Readings:
        request = encode_request(registers)
        failures: list[TryFailed] = []

        def find(heard: bytes) -> Blocks | None:
            failures.clear()
            for frame in find_frames(heard):
                try:
                    return decode_answer(frame, registers)
                except TryFailed as failure:  # noise, or an answer that was late: the right one may follow
                    failures.append(failure.with_traceback(None))
            return None

        self._send(request)
        blocks = self._listen(find, self.timeout, 2 * (6 + 24 * len(registers)))  # all of it stuffed
        if blocks is None:
            raise failures[-1] if failures else self._failure(request)
        return {register: decode_block(register, block) for register, block in blocks.items()}


# Registers of the older protocol: the group of the read-out that has them, or their field in /#1.
READOUT = {60: "6.8", 68: "6.26", 1004: "6.31", 1010: "0.0"}
FIELDS = {86: 3, 87: 4, 89: 5, 80: 6, 74: 7, 128: 8, 99: 9}
READOUT_UNITS = ("", "kWh", "MWh", "GJ", "Gcal", "m3", "h")
FIXED_SCALES = {86: ("C", 2), 87: ("C", 2), 89: ("K", 2), 99: ("", 0)}  # unit, decimals
SCALES = {  # of flow, power and highest power, by the CCC of the meter's configuration
    "107 116 119 120 136 137 151 178 179 184 197 198 199": {74: ("l/h", 0), 80: ("kW", 1), 128: ("kW", 1)},
    "158": {74: ("m3/h", 2), 80: ("kW", 0), 128: ("kW", 0)},
    "147 170 180 181": {74: ("m3/h", 2), 80: ("MW", 3), 128: ("MW", 3)},
}


class Mc66Meter(Meter):
    """A MULTICAL 401, 66, III or 41, with its ASCII protocol (5512-091, 5511-634, 5810-133, 5512-313).

    Energy, volume, hours and customer number come with unit, decimals and a checksum, at 300 baud:
        /?!  ->  identification  ->  ACK 000  ->  STX groups ETX BCC
    the others as bare digits, asked for at 300 baud and answered at 1200:
        /#1  ->  ten fields, decimals by the configuration in the fields of  /#2
    """

    baudrate = 300
    wait, timeout, pause, rest = 30.0, 3.0, 5.0, 5.0
    hint = "a MULTICAL 21, 302, 402, 403, 601, 602, 603 or 801 is read without --protocol mc66"
    answer_baudrate = 1200  # of data strings
    leaving = 0.09  # s that an adapter may take to send on what was written
    unasked = 0.25  # s within which a meter that does not wait for the ACK has gone on
    configuration = ""  # ABCCC of /#2, once it is known
    only = tuple(sorted({**READOUT, **FIELDS}))

    def _try(self, registers: Registers) -> Readings:
        (register,) = registers
        if register in READOUT:
            found = self._read_out().get(READOUT[register])
            return {register: Reading(register, *found)} if found else {}
        if register not in FIELDS:
            return {}
        if not self.configuration and register not in FIXED_SCALES:
            self.configuration = self._data_string(b"/#2", 85)[7]
        fields = self._data_string(b"/#1", 81)
        if int(fields[3]) - int(fields[4]) != int(fields[5]):
            raise Damaged("T1 - T2 does not match")
        return {register: self._scaled(register, fields[FIELDS[register]])}

    def _read_out(self) -> Groups:
        request = set_parity(b"/?!\r\n")
        self._send(request)
        if self._listen(find_identification, self.timeout, 200) is None:
            raise self._failure(request)
        length = len(self._heard)
        self._listen(lambda heard: len(heard) > length or None, self.unasked, 0)
        if len(self._heard) == length and not find_read_out(self._heard):
            self._write(set_parity(b"\x06000\r\n"))
        block = find_read_out(self._heard) or self._listen(find_read_out, self.timeout, 200)
        if block is None:
            raise Damaged("the read-out did not come to its end")
        return decode_read_out(block)

    def _data_string(self, request: bytes, length: int) -> list[str]:
        if self._name.startswith("socket://"):
            raise PortError("a socket:// port can't change its speed, which this register needs: use rfc2217://")
        request = set_parity(request)
        self._send(request)
        self._listen(lambda heard: None, self.leaving, 0)
        echo, self._heard = self._heard, b""
        self._switch(self.answer_baudrate)
        string = self._listen(lambda heard: find_fields(heard, length), self.timeout, 2 * length)
        if string is None:
            self._heard = echo + self._heard
            raise self._failure(request)
        return decode_fields(string, length)

    def _scaled(self, register: int, digits: str) -> Reading:
        ccc = self.configuration[-3:]
        scale = FIXED_SCALES.get(register)
        for codes, scales in SCALES.items():
            if ccc in codes.split():
                scale = scale or scales[register]
        if scale is None:
            raise MeterError(
                f"the meter says {digits} for register {register}, but where the decimal point belongs is "
                f"not known for its configuration CCC = {ccc} (ABCCC = {self.configuration})"
            )
        return Reading(register, Decimal(f"{int(digits)}E-{scale[1]}"), scale[0])


def set_parity(text: bytes) -> bytes:
    """7-bit characters with even parity in bit 7: 7E2 on a line that is 8N2."""
    return bytes(byte | (bin(byte).count("1") & 1) << 7 for byte in text)


def check_parity(data: bytes) -> str:
    """The 7-bit characters of the data; in place of those with wrong parity '\\xff'."""
    text = ""
    for byte in data:
        text += "\xff" if bin(byte).count("1") & 1 else chr(byte & 0x7F)
    return text


def find_identification(heard: bytes) -> object:
    """Something, if the meter has identified itself, or (its name being damaged) has even said it all."""
    return re.search("/KAM[^\r\n]*\r\n", check_parity(heard)) or find_read_out(heard)


def find_read_out(heard: bytes) -> bytes | None:
    """STX groups ETX BCC, once it is complete."""
    found = re.search("\x02[^\x02\x03]*\x03.", check_parity(heard), re.DOTALL)
    return heard[slice(*found.span())] if found else None


def decode_read_out(block: bytes) -> Groups:
    """Value and unit by the name of the group, of `STX 6.8(0456.631*GJ)6.26(3447.381*m3)! ETX BCC`.

    BCC is the sum of the characters after STX up to ETX, modulo 128; its own parity does not count, having
    been seen wrong on a MULTICAL III. Raises Damaged.
    """
    text = check_parity(block[1:-1])
    if "\xff" in text or sum(map(ord, text)) % 128 != block[-1] & 0x7F:
        raise Damaged("parity or checksum of the read-out is wrong")
    group = r"([0-9.*]+)\(([^()*]*)(?:\*([^()*]*))?\)(?:\r\n)?"
    groups = re.findall(group, text)
    if not re.fullmatch(f"(?:{group})+!(?:\r\n)?\x03", text) or len({name for name, _, _ in groups}) < len(groups):
        raise Damaged("the read-out is not made of groups")
    known: Groups = {}
    for name, digits, unit in groups:
        if name in READOUT.values():
            if unit not in READOUT_UNITS or not re.fullmatch("[0-9]+([.,][0-9]+)?", digits):
                raise Damaged(f"the read-out says {digits} {unit}")
            known[name] = (Decimal(digits.replace(",", ".")), unit)
    return known


def find_fields(heard: bytes, length: int) -> bytes | None:
    """All up to the CR of a data string, once there are `length` characters; its parity does not count."""
    for end in range(length, len(heard) + 1):
        if heard[end - 1] & 0x7F == 0x0D:
            return heard[:end]
    return None


def decode_fields(heard: bytes, length: int) -> list[str]:
    """The ten fields of the data string of `length` characters that ends what was heard (5511-634, 4.1).

    It has no checksum: its form, the parity of every character and that nothing but noise stands before
    it are all there is to check. Raises Damaged.
    """
    text = check_parity(heard[:-1])
    before, text = text[: 1 - length], text[1 - length :]
    if re.search(r"[ -~]\Z", before):
        raise Damaged("the data string is too long")
    if not re.fullmatch(f"[0-9]{{{length - 74}}} (?:[-0-9][0-9]{{6}} ){{9}}", text):
        raise Damaged("the data string is not made of ten numbers")
    return text.split()


PROTOCOLS: dict[str, type[Meter]] = {"kmp": KmpMeter, "mc66": Mc66Meter}


def read_register(port: str, register: int, protocol: str = "kmp", **options: Any) -> Reading:
    """Read one register; options as of Meter. The port is closed when this returns. Raises as Meter.read."""
    with PROTOCOLS[protocol](port, **options) as meter:
        return meter.read(register)


# ---------------------------------------------------------------- Domoticz

CONNECT_TIMEOUT, READ_TIMEOUT, ALL_TIMEOUT = 5, 10, 30  # s
MAX_ANSWER = 65536  # bytes; a device has some 2,000
TROUBLE = {  # what an HTTP status means, or else its first digit
    401: "wants a login, or a right one: check DOMOTICZ_USER and DOMOTICZ_PASSWORD; over plain http it may "
    "not be allowed (use https, or allow it in Setup > Settings > Security); or add this computer to the "
    "trusted networks there, and give no password",
    403: "refuses: this user may only view, or may not touch this sensor",
    4: "does not know the address: is a path too many or missing (such as /domoticz) at the end of --url?",
    3: "redirects elsewhere: give its own address as --url",
    5: "is in trouble, or a proxy before it",
}


class Domoticz:
    """A Domoticz server with its JSON API. All calls raise DomoticzError.

    url: http(s)://host:port, with a path where Domoticz has one; verify: check its https certificate.
    """

    def __init__(
        self, url: str, user: str = "", password: str = "", verify: bool = True, watch: Watch | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._login = user.encode("utf-8", "surrogateescape"), password.encode("utf-8", "surrogateescape")
        self._verify = verify
        self._watch = watch or Watch()

    def push(self, idx: int, svalue: str) -> None:
        """Give the sensor with this idx a value of plain digits."""
        if idx < 1 or not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", svalue):  # Domoticz would take anything
            raise ValueError(f"idx {idx}, svalue {svalue!r}")
        answer = self._ask({"type": "command", "param": "udevice", "idx": idx, "nvalue": 0, "svalue": svalue})
        if not answer:
            raise self._no_such(idx)
        self._watch.trace(f"Domoticz took svalue {svalue} for idx {idx}")

    def device(self, idx: int) -> Answer:
        """What Domoticz has under this idx: its Name, Type, SubType, Data, ... Changes nothing."""
        answer = self._ask({"type": "command", "param": "getdevices", "rid": idx})
        answer = answer or self._ask({"type": "devices", "rid": idx})  # as it is called up to 2022.2
        devices = answer.get("result")
        if isinstance(devices, list) and devices and isinstance(devices[0], dict):
            return devices[0]
        raise self._no_such(idx)

    def _no_such(self, idx: int) -> DomoticzError:
        return DomoticzError(f"Domoticz at {self.url} has no sensor with idx {idx}: see Setup > Devices there")

    def _ask(self, params: Params) -> Answer:
        """The answer; an empty one if its status is not OK."""
        try:
            from requests import codes  # a name out of it, as another thread may be importing it
        except Exception as error:
            raise DomoticzError(f"requests is missing ({error}): sudo apt install python3-requests") from error
        import json
        from urllib.parse import urlencode

        self._watch.trace(f"-> GET {self.url}/json.htm?{urlencode(params)}")
        try:
            status, body = within(ALL_TIMEOUT, lambda: self._get(params))
        except Exception as error:  # requests lets through some of urllib3, http.client and ssl
            raise DomoticzError(_unreachable(self.url, error)) from error
        self._watch.trace(f"<- {status} {self.scrub(body.decode('utf-8', 'replace'))[:500]}")
        if status != codes.ok:
            trouble = TROUBLE.get(status) or TROUBLE.get(status // 100, TROUBLE[5])
            raise DomoticzError(f"Domoticz at {self.url} {trouble} (HTTP {status})")
        try:
            answer = json.loads(body)
        except (RecursionError, ValueError):
            answer = None
        if not isinstance(answer, dict):
            raise DomoticzError(f"what answers at {self.url} is not Domoticz: it does not send JSON")
        return answer if answer.get("status") == "OK" else {}

    def _get(self, params: Params) -> tuple[int, bytes]:
        from itertools import islice

        from requests import Session
        from requests.adapters import HTTPAdapter
        from urllib3.util.retry import Retry

        # Only what can't have arrived is sent again: a sensor may add up what it gets.
        retry = Retry(total=None, connect=3, read=False, redirect=0, status=0, other=0, backoff_factor=0.5)
        # Domoticz never asks for a login (no WWW-Authenticate), so it goes along at once. A function in its
        # place keeps requests from looking into ~/.netrc.
        auth: Any = self._login if any(self._login) else lambda request: request
        with Session() as session:
            # Told not to follow a redirect, requests would still read all that comes with it.
            session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]
            session.mount(self.url, HTTPAdapter(max_retries=retry))
            response = session.get(
                f"{self.url}/json.htm",
                params=params,
                auth=auth,
                verify=self._verify,
                timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                allow_redirects=False,
                stream=True,
            )
            return response.status_code, b"".join(islice(response.iter_content(1), MAX_ANSWER))

    def scrub(self, text: str) -> str:
        """A text from the server without user and password, should it repeat them."""
        from base64 import b64encode
        from json import dumps

        secrets = []
        for login in (b64encode(b":".join(self._login)), *self._login):
            plain = login.decode("utf-8", "replace")
            secrets += [plain, dumps(plain)[1:-1]]
        for secret in sorted(secrets, key=len, reverse=True):  # one may be a part of another
            if len(secret) > 2:
                text = text.replace(secret, "***")
        return " ".join(text.split())


def _unreachable(url: str, error: BaseException) -> str:
    """Why there was no answer, and what to do."""
    from http.client import HTTPException
    from socket import gaierror, timeout
    from ssl import SSLCertVerificationError, SSLError

    reasons: dict[type[BaseException], str] = {
        SSLCertVerificationError: "has a certificate that can't be verified: name your own CA's file in "
        "REQUESTS_CA_BUNDLE, or give --insecure if you trust the network",
        SSLError: "does not speak https: is this the https port, or should the --url begin with http:?",
        gaierror: "is not known: is the host spelled right?",
        ConnectionRefusedError: "refused: nothing listens there; is Domoticz running, is the port right?",
        timeout: "did not answer in time",
        TimeoutError: "did not answer in time",
        HTTPException: "does not speak http: should the --url begin with https:?",
        ConnectionError: "broke off: should the --url begin with https:?",
    }
    causes = [error]
    while causes[-1].__context__ is not None:
        causes.append(causes[-1].__context__)
    for kind, reason in reasons.items():
        if any(isinstance(cause, kind) for cause in causes):
            return f"Domoticz at {url} {reason}"
    return f"Domoticz at {url} can't be reached: {causes[-1]}"


KWH = {"Wh": 0.001, "kWh": 1, "MWh": 1000, "GJ": 1000 / 3.6, "Gcal": 1163}  # units of energy in kWh
COUNTER_UNITS = {"0": "kWh", "1": "m3", "2": "m3", "4": "kWh"}  # by SwitchTypeVal; a plain Counter has its own
COUNTER_TYPES = {  # what to set for values in this unit
    "kWh": "Type Energy",
    "m3": "Type Water",
    "GJ": "Type Counter, unit GJ",
    "MWh": "Type Counter, unit MWh",
    "Gcal": "Type Counter, unit Gcal",
}
WRONG_SENSORS = {  # by SubType
    "Counter Incremental": "it adds every value to those before",
    "kWh": "it wants watt;watthour, one number is shown wrong and never logged",
}


def misfits(reading: Reading, svalue: str, device: Answer) -> Iterator[str]:
    """What comes out wrong when svalue, made of the reading, goes to this device, and what to change."""
    kind, subkind, unit = str(device.get("Type")), str(device.get("SubType")), reading.unit
    advice = f"take a {'Temperature' if unit == 'C' else 'Custom Sensor'}"
    if unit in COUNTER_TYPES:
        settings = f"{COUNTER_TYPES[unit]}, Divider 1000 in its Edit dialog"
        advice = f"take a Counter, set {settings}, and --multiply 1000"
    if subkind in WRONG_SENSORS:
        yield f"{WRONG_SENSORS[subkind]}: {advice}"
    elif kind == "RFXMeter":
        yield from _scale_misfits(reading, svalue, device, advice)
    elif unit in COUNTER_TYPES or (subkind != "Custom Sensor" and (kind, unit) != ("Temp", "C")):
        yield f"it is no sensor for {reading}: {advice}"
    elif float(svalue) != float(reading.digits):
        yield f"it would show {svalue} for {reading}: leave out --multiply, unless that is its unit"


def _scale_misfits(reading: Reading, svalue: str, device: Answer, advice: str) -> Iterator[str]:
    """What is wrong with the scale of a Counter."""
    own = str(device.get("ValueUnits") or reading.unit)
    unit = COUNTER_UNITS.get(str(device.get("SwitchTypeVal")), own)
    alike = unit == reading.unit or {unit, reading.unit} <= set(KWH)
    meant = float(reading.digits) * KWH.get(reading.unit, 1) / KWH.get(unit, 1)
    try:
        divider = float(device["Divider"])
        shown = float(svalue) / divider
    except (ArithmeticError, KeyError, TypeError, ValueError):
        return  # Domoticz does not tell how it shows the value
    if not alike:
        advice = f"if idx {device.get('idx')} is the right one, {advice}"
    elif unit == reading.unit and divider == 1000:
        advice = "add --multiply 1000"
    if "." in svalue:
        yield f"a Counter wants integers, and cuts the decimals off in its log: {advice}"
    if not alike or abs(shown - meant) > abs(meant) / 1000:
        yield f"it would show {shown:.6g} {unit} for {reading}: {advice}"
    present = re.match(r"-?[0-9]+(\.[0-9]+)?", str(device.get("Counter")))
    if alike and present and meant < float(present.group()):
        yield f"it has more already ({device['Counter']}), so its next use would be negative"


# ---------------------------------------------------------------- command line

DEFAULT_URL = "http://127.0.0.1:8080"
EPILOG = """
Domoticz's user and password come from DOMOTICZ_USER and DOMOTICZ_PASSWORD.

exit codes: 0 done; 1 the output can't be written; 2 usage; 3 the port can't be opened, stays busy or
vanished; 4 the meter did not answer; 5 what came back was damaged, or no answer to the question; 6 the
meter has no such register; 7 Domoticz was not reached or refused; 130 interrupted
"""


class Parser(argparse.ArgumentParser):
    """Complains in one line, as the rest of the program."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (--help tells more)")


def build_parser() -> Parser:
    """The command line."""
    # Two things that argparse would spend a tenth of the whole run on: looking for translations of its
    # few words, and importing shutil to find the width of a terminal.
    argparse._ = str  # type: ignore[attr-defined]
    parser = Parser(
        prog="kamstrup_read.py",
        usage="%(prog)s [options] PORT REGISTER [IDX]",
        description="Read one register of a Kamstrup meter; print it, or push it to Domoticz.",
        epilog=EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=100),
        allow_abbrev=False,
        add_help=False,
    )
    add = parser.add_argument_group("arguments").add_argument
    add("port", metavar="PORT", nargs="?", help="serial port of the IR head, or a pySerial URL")
    add("register", metavar="REGISTER", nargs="?", help="60, 0x3c or a symbol such as E1; or all")
    add("idx", metavar="IDX", nargs="?", type=number(1, 999999999, int), help="Domoticz idx; none: print only")
    add = parser.add_argument_group("options").add_argument
    add("-h", "--help", action="help", help="show this and stop")
    add("--list-registers", action="store_true", help="print the known registers and stop")
    add("--json", action="store_true", help="print as JSON")
    add("-v", "--verbose", action="store_true", help="tell on stderr what happens, every frame as hex")
    add("--version", action="version", version=f"kamstrup_read {__version__}", help="show it and stop")
    add = parser.add_argument_group("the meter").add_argument
    add("--protocol", choices=PROTOCOLS, help="mc66: MULTICAL 401, 66, III, 41 (default kmp)")
    add("--baudrate", metavar="N", type=number(300, 115200, int), help="9600: 382/OMNIPOWER (default 1200)")
    wait = "how long to keep trying, for the port to be free and the meter to answer; 0: one try"
    add("--wait", metavar="SECONDS", type=number(0, 86400), help=f"{wait} (default 10, mc66 30)")
    silence = "how much silence makes a try unanswered (default 2, mc66 3)"
    add("--timeout", metavar="SECONDS", type=number(0.1, 3600), help=silence)
    add = parser.add_argument_group("Domoticz, with IDX").add_argument
    add("--multiply", metavar="FACTOR", type=number(-(10**9), 10**9, Decimal), help="(default 1)")
    add("--decimals", metavar="N", type=number(0, 20, int), help="round to N decimals (default: none are lost)")
    add("--url", help=f"of Domoticz, or DOMOTICZ_URL (default {DEFAULT_URL})")
    add("--insecure", action="store_true", help="don't verify its https certificate")
    add("--dry-run", action="store_true", help="show what would be pushed, and to what; change nothing")
    return parser


def number(low: float, high: float, kind: type = float) -> Callable[[str], Any]:
    """Reads a number of this kind and range, in plain ASCII."""
    form = "[0-9]{1,12}" if kind is int else r"[-+]?[0-9]{1,20}(\.[0-9]{0,20})?"

    def read(text: str) -> Any:
        if re.fullmatch(form, text) and low <= float(text) <= high:
            return kind(text)
        raise argparse.ArgumentTypeError(f"{text!r} is no {'whole ' * (kind is int)}number from {low} to {high}")

    return read


def parse(arguments: Arguments) -> argparse.Namespace:
    """The arguments, checked; an option that would do nothing is an error too."""
    parser = build_parser()
    args, unknown = parser.parse_known_args(arguments)
    if unknown:  # options may also stand between the arguments, which takes argparse longer
        args, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:  # not repeated in full: somebody may have tried --password
        name = unknown[0].split("=")[0]
        parser.error(f"{name} is not understood" if name[:1] == "-" else "more than PORT, REGISTER and IDX")
    given = {name for name, value in vars(args).items() if value is not None and value is not False}
    if args.list_registers:
        if given - {"list_registers", "json"}:
            parser.error("--list-registers stands alone, or with --json")
        return args
    if args.register is None:
        parser.error("PORT and REGISTER are needed, such as /dev/ttyUSB0 60")
    args.protocol = args.protocol or "kmp"
    only = PROTOCOLS[args.protocol].only
    pushing, everything = args.idx is not None, args.register.lower() == "all"
    for applies, needless, where in (
        (not pushing, given & {"multiply", "decimals", "url", "insecure", "dry_run"}, "without IDX"),
        (pushing, given & {"json"}, "with IDX: a push prints nothing"),
        (only, given & {"baudrate"}, f"with {args.protocol}, which has its own speeds"),
    ):
        if applies and needless:
            parser.error(f"--{min(needless).replace('_', '-')} does nothing {where}")
    if args.multiply == 0:
        parser.error("--multiply 0 leaves nothing of the reading")
    if everything and pushing:
        parser.error("all registers are for printing, not for one IDX")
    if everything and only:
        parser.error(f"with {args.protocol} ask for one of {' '.join(map(str, only))}")
    args.register = "all" if everything else register_id(args.register)
    return args


def domoticz_of(args: argparse.Namespace, watch: Watch) -> Domoticz:
    """The Domoticz that options and environment tell of. A wrong URL is not repeated, it may be secret."""
    from urllib.parse import urlsplit

    url = args.url or os.environ.get("DOMOTICZ_URL") or DEFAULT_URL
    user, password = os.environ.get("DOMOTICZ_USER", ""), os.environ.get("DOMOTICZ_PASSWORD", "")
    if "@" in url:
        raise UsageError("no user and password in the URL: set DOMOTICZ_USER and DOMOTICZ_PASSWORD")
    try:
        good = urlsplit(url).hostname and urlsplit(url).port != 0
    except ValueError:
        good = False
    if not good or not re.fullmatch("https?://[!-~]+", url) or re.search(r"[?#\\%]", url):
        raise UsageError(f"--url or DOMOTICZ_URL must look like {DEFAULT_URL} or https://host/path")
    if args.insecure and not url.startswith("https"):
        raise UsageError("--insecure does nothing without https")
    if bool(user) != bool(password) or ":" in user:
        raise UsageError("DOMOTICZ_USER (without a colon) and DOMOTICZ_PASSWORD go together")
    return Domoticz(url, user, password, not args.insecure, watch)


class Screen(Watch):
    """Tells on stderr what happens: everything if verbose; to somebody at a terminal, how each try ended."""

    def __init__(self, verbose: bool, pushing: bool) -> None:
        self._verbose = verbose
        self._pushing = pushing

    def trace(self, text: str) -> None:
        for line in text.splitlines() if self._verbose else ():
            to_stderr(line)

    def asked(self) -> None:
        if self._pushing:  # the processor is idle while the meter answers, and requests is slow to import
            from threading import Thread

            self._pushing = False
            Thread(target=_import_requests).start()

    def failed(self, why: str, left: float) -> None:
        if self._verbose or (left and sys.stderr is not None and sys.stderr.isatty()):
            to_stderr(f"{why}; {left:.1f} s left")


def _import_requests() -> None:
    try:
        import requests  # noqa: F401
    except Exception:
        pass


def one_line(text: str) -> str:
    """The text without the line breaks and escapes that a meter, a server or a file name has put into it."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def to_stderr(text: str) -> None:
    """Tell the user something."""
    try:
        if sys.stderr is not None:
            print(one_line(text), file=sys.stderr, flush=True)
    except OSError:  # nobody to tell
        pass


def to_json(**fields: str | int | Decimal) -> str:
    """A JSON object; '' is null there, and a Decimal a number of exactly its digits."""
    from json import dumps

    texts = []
    for name, value in fields.items():
        text = f"{value:f}" if isinstance(value, Decimal) else dumps(None if value == "" else value)
        texts.append(f'"{name}": {text}')
    return f"{{{', '.join(texts)}}}"


def reading_to_json(reading: Reading, known: Known) -> str:
    """The reading with symbol and description, from the table of registers if it is there."""
    register, value, unit = reading
    symbol, _, description = known.get(register, ("", "", ""))
    return to_json(register=register, symbol=symbol, description=description, value=value, unit=unit)


def print_registers(as_json: bool) -> None:
    """Print the table of registers."""
    rows = []
    for register, (symbol, unit, description) in known_registers().items():
        if as_json:
            rows.append(to_json(register=register, symbol=symbol, unit=unit, description=description))
        else:
            rows.append(f"{register:>5}  {symbol:<13} {unit:<11} {description}")
    print("[" + ",\n ".join(rows) + "]" if as_json else "\n".join(rows))


def print_all(meter: KmpMeter, as_json: bool) -> None:
    """Print what the meter has of the known registers, each as soon as it is known."""
    known = known_registers()
    count = 0
    try:
        for reading in meter.read_all(list(known)):
            if as_json:
                print(",\n " if count else "[", reading_to_json(reading, known), sep="", end="", flush=True)
            else:
                symbol, _, description = known[reading.register]
                row = f"{reading.register:>5}  {symbol:<13} {reading.digits:>19} {reading.unit:<9} {description}"
                print(row, flush=True)
            count += 1
    except KamstrupError as error:
        if not count:
            raise
        to_stderr(f"kamstrup_read: {error}")
    finally:
        if as_json and count:
            print("]")
    if not count:
        raise NoSuchRegister("the meter answers, but has none of the known registers")


def print_dry_run(domoticz: Domoticz, idx: int, reading: Reading, svalue: str) -> None:
    """Print what a push would do, and what would come out wrong."""
    print(f"meter:    {reading} (register {reading.register})")
    print(f"push:     svalue {svalue} to idx {idx} at {domoticz.url}")
    device = domoticz.device(idx)
    there = f"{device.get('Name')} ({device.get('Type')}, {device.get('SubType')}), now {device.get('Data')}"
    print("device:  ", one_line(domoticz.scrub(there)))
    for misfit in misfits(reading, svalue, device):
        print("warning: ", one_line(domoticz.scrub(misfit)))


def run(arguments: Arguments) -> None:
    """Do what the command line says. Raises KamstrupError."""
    args = parse(arguments)
    if args.list_registers:
        return print_registers(args.json)
    screen = Screen(args.verbose, args.idx is not None)
    domoticz = domoticz_of(args, screen) if args.idx is not None else None
    if "://" in args.port:  # pySerial's own threads are not to tell what they stumble over
        import threading

        threading.excepthook = lambda _: None
    with PROTOCOLS[args.protocol](args.port, args.baudrate, args.wait, args.timeout, screen) as meter:
        if isinstance(meter, KmpMeter) and args.register == "all":
            return print_all(meter, args.json)
        reading = meter.read(args.register)
    if domoticz is None:
        return print(reading_to_json(reading, known_registers()) if args.json else reading)
    if isinstance(reading.value, str):
        raise UsageError(f"register {args.register} is {reading}, which is no number for a sensor")
    svalue = svalue_of(reading.value, args.multiply, args.decimals)
    if args.dry_run:
        return print_dry_run(domoticz, args.idx, reading, svalue)
    return domoticz.push(args.idx, svalue)


def main(arguments: Arguments = None) -> int:
    """Run the program; returns its exit code."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # cron mails whatever a library has to say
    try:
        try:
            run(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        return 130
    except KamstrupError as error:
        to_stderr(f"kamstrup_read: {error}")
        return error.exit_code
    except OSError as error:  # of stdout: a full disk, or a `| head` that has seen enough
        if isinstance(error, BrokenPipeError):
            return 0
        to_stderr(f"kamstrup_read: the output can't be written: {error}")
        return 1


if __name__ == "__main__":
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    exit_code = main()
    os._exit(exit_code)  # the interpreter's own way out takes a tenth of the run, and tidies up nothing of ours
