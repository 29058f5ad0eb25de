#!/usr/bin/env python3
"""Read one register of a Kamstrup MULTICAL meter; print it, or push it to Domoticz.

    kamstrup_read.py /dev/ttyUSB0 60                     print it: 16.235 GJ
    kamstrup_read.py /dev/ttyUSB0 60 --create Heating    make a Domoticz sensor for it
    kamstrup_read.py /dev/ttyUSB0 60 12                  make Domoticz's sensor 12 show it
    kamstrup_read.py /dev/ttyUSB0 all                    print every register that it has

From Python, read_register("/dev/ttyUSB0", "E1").value is Decimal("16.235").

The meter speaks the Kamstrup Meter Protocol (KMP, Kamstrup's document 5512-447) through an optical
eye, at 1200 baud. One exchange is a request and its response:

    80 3f 10 01 00 3c b2 5f 0d                     request: register 60 (3c)
    40 3f 10 00 3c 08 04 43 00 00 3f 6b 15 59 0d   response: register 60, GJ, 16235 x 10^-3
"""
# /// script
# requires-python = ">=3.9"
# dependencies = ["pyserial>=3.5", "requests>=2.25"]
# ///

# ------------------------------------------------------------------------------------- 1. imports

# Cron starts this script every few minutes on small computers, so what only some uses need (serial,
# requests, json, datetime, ...) is imported where it is used, and typing never is.

from __future__ import annotations

import argparse
import binascii
import errno
import os
import re
import struct
import sys
import time
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from io import BytesIO

TYPE_CHECKING = False  # type checkers take it for that of typing
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = [
    "ConnectionLostError",
    "DamagedResponseError",
    "Domoticz",
    "DomoticzError",
    "KamstrupError",
    "Meter",
    "MeterError",
    "NoResponseError",
    "PortBusyError",
    "PortError",
    "Reading",
    "UnknownRegisterError",
    "UsageError",
    "main",
    "read_register",
    "svalue_for",
]
__version__ = "2.0.0"

# -------------------------------------------------------------------------------------- 2. errors

# An error's text is the whole sentence for the user: what was seen, a colon, and what to try first,
# with a library's own words in parentheses.


class KamstrupError(Exception):
    """Whatever keeps a reading from its destination."""

    exit_code = 1


class UsageError(KamstrupError):
    """The arguments make no sense."""

    exit_code = 2


class PortError(KamstrupError):
    """The port can't be opened."""

    exit_code = 3


class PortBusyError(PortError):
    """The port can't be opened, but may be soon: another program has it, or its server is away."""


class MeterError(KamstrupError):
    """The meter could not be read."""

    exit_code = 5


class UnknownRegisterError(MeterError):
    """The meter has no such register."""

    exit_code = 6


class AttemptError(MeterError):
    """One attempt to read the meter failed; another one may succeed."""


class NoResponseError(AttemptError):
    """Nothing came back, or only the request: some heads echo what they send."""

    exit_code = 4


class DamagedResponseError(AttemptError):
    """Bytes came back, but no valid response to the request."""


class ConnectionLostError(AttemptError):
    """The port failed while it was in use."""

    exit_code = 3


class DomoticzError(KamstrupError):
    """Domoticz was not reached, or refused, or the sensor can't show the reading."""

    exit_code = 7


def damaged(details: str) -> DamagedResponseError:
    """The error for bytes that are no valid response to the request."""
    return DamagedResponseError(
        "a damaged response: press the head flat against the eye; then keep light away from it, "
        f"and stop any other program that uses the port ({details})"
    )


# ---------------------------------------------------------------------------------- 3. KMP frames

# start | address, CID (command), data, CRC | stop. All between start and stop is byte-stuffed, so
# that a bare start or stop byte always is what it seems (5512-447, section 3).
REQUEST_START = b"\x80"
STOP = b"\x0d"
RESPONSE_FRAME = rb"\x40[^\x40\x0d]*\x0d"  # a pattern: from the last start to the first stop
ESCAPE = 0x1B
RESERVED = b"\x80\x40\x0d\x06\x1b"  # each is sent as ESCAPE and its complement
GET_REGISTER = b"\x3f\x10"  # the meter's address, and the CID
REGISTERS_PER_REQUEST = 8
CRC_SIZE = 2  # bytes; nothing shorter than address, CID and CRC begins right and has the CRC 0
Block = namedtuple("Block", "unit_id sign_exponent value")  # value: bytes, big-endian
BLOCK_HEADER = struct.Struct(">HBBB")  # register id, unit id, length of value, sign and exponent


def crc(data: bytes) -> bytes:
    """CRC-16/XMODEM, high byte first; that of data with its CRC is 0 (5512-447, section 3.2)."""
    return binascii.crc_hqx(data, 0).to_bytes(CRC_SIZE, "big")


def stuff(data: bytes) -> bytes:
    """The data with every reserved byte escaped."""
    stuffed = bytearray()
    for byte in data:
        if byte in RESERVED:
            stuffed += bytes((ESCAPE, byte ^ 0xFF))
        else:
            stuffed.append(byte)
    return bytes(stuffed)


def unstuff(stuffed: bytes) -> bytes:
    """The inverse of stuff(). Raises DamagedResponseError.

    In one pass: chained replaces would turn 1B E4 7F, a stuffed 1B and 7F, into 1B 7F, and then 80.
    """
    data = bytearray()
    remaining = iter(stuffed)
    for sent in remaining:
        is_escaped = sent == ESCAPE
        # If nothing follows, take 0: its complement is not reserved, and is rejected below.
        byte = next(remaining, 0) ^ 0xFF if is_escaped else sent
        if is_escaped != (byte in RESERVED):
            raise damaged("a byte is not escaped as it should be")
        data.append(byte)
    return bytes(data)


def encode_request(registers: Sequence[int]) -> bytes:
    """The GetRegister frame for 1 to 8 register ids (5512-447, section 6.2.4)."""
    content = GET_REGISTER + bytes((len(registers),))
    for register in registers:
        content += register.to_bytes(2, "big")
    return REQUEST_START + stuff(content + crc(content)) + STOP


def find_frames(received: bytes) -> list[bytes]:
    """The response frames in what was received.

    A frame begins at the last start byte before its stop byte: anything before is echo or noise.
    """
    return re.findall(RESPONSE_FRAME, received)


def decode_response(frame: bytes, registers: Sequence[int]) -> dict[int, Block]:
    """The blocks of a response to encode_request(registers), by register id; frame: as found.

    The meter leaves out the registers that it lacks (5512-447, section 6.2.4). The lengths of the
    others must add up exactly. Raises DamagedResponseError.
    """
    content = unstuff(frame[1:-1])
    if crc(content) != b"\0\0":
        raise damaged("its CRC is wrong")
    if not content.startswith(GET_REGISTER):
        raise damaged("it responds to another request: its address or CID is wrong")
    data = BytesIO(content[2:-CRC_SIZE])
    blocks = {}
    while header := data.read(BLOCK_HEADER.size):
        if len(header) < BLOCK_HEADER.size:
            raise damaged("it ends in the middle of a block")
        register, unit_id, length, sign_exponent = BLOCK_HEADER.unpack(header)
        value = data.read(length)
        if length == 0 or len(value) < length:
            raise damaged("its lengths do not add up")
        if register not in registers or register in blocks:
            raise damaged(f"it responds to another request: register {register} is not expected")
        blocks[register] = Block(unit_id, sign_exponent, value)
    return blocks


def find_response(received: bytes, registers: Sequence[int]) -> dict[int, Block] | None:
    """The blocks of the first valid response in what was received; None while there is none."""
    for frame in find_frames(received):
        try:
            return decode_response(frame, registers)
        except DamagedResponseError:  # noise, or a late response: the right one may follow
            pass
    return None


# ------------------------------------------------------------------------------------ 4. readings


class Reading(namedtuple("Reading", "register value unit")):
    """A register as read: its id (int), its value, and the name of the unit ('' for none).

    The value is a Decimal with exactly the meter's digits, or a str: a date, a time or both in ISO
    form, a text, or what makes no sense or has no known layout: its digits, or raw bytes as 0x...
    """

    __slots__ = ()

    @property
    def digits(self) -> str:
        """The value as text; a number has no exponent."""
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


# One function for each layout. For nonsense they raise ValueError, OverflowError or struct.error.


def _time_of_day(hhmmss: str) -> str:
    minutes, seconds = divmod(int(hhmmss), 100)
    return _in_form("%H:%M:%S", 0, 1, 1, *divmod(minutes, 100), seconds)


def _date(yymmdd: str) -> str:
    months, day = divmod(int(yymmdd), 100)
    return _in_form("%Y-%m-%d", *divmod(months, 100), day)


def _month_day(mmdd: str) -> str:
    return _in_form("%m-%d", 0, *divmod(int(mmdd), 100))  # 2000 has a 29th of February


def _clock_of_382(value: bytes) -> str:
    # flags, weekday, seconds, minutes, hours, day, month, year
    return _in_form("%Y-%m-%dT%H:%M:%S", *reversed(struct.unpack("2x6B", value)))


def _date_and_time(value: bytes) -> str:
    # summer time, year, month, day, hours, minutes, seconds
    return _in_form("%Y-%m-%dT%H:%M:%S", *struct.unpack("x6B", value))


def _text(value: bytes) -> str:
    text = value.decode("ascii").strip("\0 ")
    if not re.fullmatch("[ -~]+", text):
        raise ValueError("nothing to read")
    return text


def _unknown(value: bytes) -> str:
    raise ValueError("shown as it is")


def _in_form(form: str, year: int, *fields: int) -> str:
    """A valid date and time as strftime(form) writes it; fields: month, day, hour, ..."""
    from datetime import datetime

    if not 0 <= year <= 99:
        raise ValueError("not two digits")
    return datetime(2000 + year, *fields).strftime(form)  # type: ignore[arg-type]


# By unit id; all others are plain numbers.
LAYOUTS_OF_DIGITS = {47: _time_of_day, 48: _date, 50: _month_day}
LAYOUTS_OF_BYTES = {
    **dict.fromkeys((49, 59, 63, 64, 72), _unknown),
    53: _clock_of_382,
    54: _text,
    79: _date_and_time,
}


def decode_block(register: int, block: Block) -> Reading:
    """The reading in a block of a response (5512-447, sections 4.1 and 4.2)."""
    unit_id, sign_exponent, value = block
    shown: Any = decode_number(sign_exponent, value)
    unit = UNITS.get(unit_id, f"unit {unit_id}")
    try:
        if unit_id in LAYOUTS_OF_DIGITS:
            shown, unit = f"{shown:f}", ""
            shown = LAYOUTS_OF_DIGITS[unit_id](shown)
        elif unit_id in LAYOUTS_OF_BYTES:
            shown = f"0x{value.hex()}"
            shown, unit = LAYOUTS_OF_BYTES[unit_id](value), ""
    except (ValueError, OverflowError, struct.error):
        pass  # nonsense is shown as it is: a date that was never set is 0
    return Reading(register, shown, unit)


# --------------------------------------------------------------------------------- 5. MC66 frames

# The ASCII protocol of the MULTICAL 401, 66, III and 41 (5512-091, 5511-634, 5810-133, 5512-313).
# Energy, volume, hours and customer number come with unit, decimals and checksum, at 300 baud:
#     /?!  ->  identification  ->  ACK 000  ->  STX 6.8(0456.631*GJ)6.26(3447.381*m3)...! ETX BCC
# The others are digits only, requested at 300 baud; the response comes at 1200:
#     /#1  ->  ten fields; how many decimals some of them have depends on the configuration in  /#2

READ_OUT_REQUEST = "/?!\r\n"
READ_OUT_ACKNOWLEDGE = "\x06000\r\n"
READ_OUT_START = b"\x82"  # STX, with its parity
FIRST_FIELDS = {"/#1": 7, "/#2": 11}  # characters, by request; all other fields have 7
WRONG_PARITY = "\xff"  # stands for a character with wrong parity; it is not a 7-bit character

# The code of the group, by register.
READ_OUT_GROUPS = {60: "6.8", 68: "6.26", 1004: "6.31", 1010: "0.0"}
SEVEN_DIGITS = r"(?=([0-9][.,]?){7}(\*|$))[0-9]+([.,][0-9]+)?"  # with or without a decimal sign
READ_OUT_FORMS = {  # by register; some meters leave the unit out
    60: SEVEN_DIGITS + r"(\*(kWh|MWh|GJ|Gcal)?)?",
    68: SEVEN_DIGITS + r"(\*(m3)?)?",
    1004: SEVEN_DIGITS + r"(\*h?)?",
    1010: "[0-9]{8}|[0-9]{11}",  # the customer number
}
DATA_FIELDS = {86: 3, 87: 4, 89: 5, 80: 6, 74: 7, 128: 8, 99: 9}  # position in /#1, by register
CONFIGURATION_FIELD = 7  # position of ABCCC in /#2
FIXED_SCALES = {86: ("C", 2), 87: ("C", 2), 89: ("K", 2), 99: ("", 0)}  # unit, decimals
SCALES_OF_CONFIGURATIONS = (  # CCC of ABCCC, scale of flow, scale of power and peak power
    ("107 116 119 120 136 137 151 178 179 184 197 198 199 827 833 839", ("l/h", 0), ("kW", 1)),
    ("158", ("m3/h", 2), ("kW", 0)),
    ("147 170 180 181", ("m3/h", 2), ("MW", 3)),
)


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


def find_identification(received: bytes) -> re.Match[bytes] | None:
    """The line with the meter's name, /KAM..."""
    # With their parity, / is AF and CR is 8D.
    return re.search(rb"\xafKAM[^\x8d\n]*\x8d\n", received)


def split_read_out(read_out: bytes) -> dict[str, str]:
    """What is between the parentheses of each group, by the group's code.

    BCC is the sum of the characters after STX up to ETX, modulo 128. Its own parity does not count:
    a MULTICAL III was seen to send it wrong. Raises DamagedResponseError.
    """
    content, bcc = read_out[1:-1], read_out[-1]
    text = decode_characters(content)
    # Modulo 128 takes the parity away.
    if WRONG_PARITY in text or sum(content) % 128 != bcc % 128:
        raise damaged("parity or checksum of the read-out is wrong")
    group = r"([0-9.*]+)\(([^()]*)\)(?:\r\n)?"
    groups = re.findall(group, text)
    contents = dict(groups)
    is_whole = re.fullmatch(rf"(?:{group})+!(?:\r\n)?\x03", text)
    if not is_whole or len(contents) < len(groups):
        raise damaged("the read-out is malformed, or repeats a group")
    return contents


def read_out_reading(contents: dict[str, str], register: int) -> Reading:
    """The reading of a register in what split_read_out() returned.

    Raises UnknownRegisterError where there is none (a MULTICAL 41, a water meter, has a blank group
    for its energy), DamagedResponseError where it makes no sense: another number of digits means
    that two read-outs ran together.
    """
    content = contents.get(READ_OUT_GROUPS[register], "")
    number, _, unit = content.replace(",", ".").partition("*")
    if not number.strip():
        raise UnknownRegisterError("this meter has no such register: its read-out has none")
    if not re.fullmatch(READ_OUT_FORMS[register], content):
        raise damaged(f"the read-out has {content!r} for register {register}")
    return Reading(register, Decimal(number), unit)


def find_data_string(received: bytes, request: str) -> list[str] | None:
    """The ten fields of the response to /#1 or /#2; None while there is none.

    It has no checksum: its form and the parity of every character are all there is to check
    (5511-634, section 4.1). The parity of the CR does not count: it is 8D, or 0D if it is wrong.
    """
    text = decode_characters(received.replace(b"\x0d", b"\x8d"))
    found = re.search(rf"([0-9]{{{FIRST_FIELDS[request]}}} ([-0-9][0-9]{{6}} ){{9}})\r", text)
    if not found:
        return None
    # A 401 was seen to send an extra character first, and a head may echo the request. But with a
    # digit before it, this may be the end of a late response to /#2: its first field is longer.
    # (The echo may have lost its first byte.)
    preceding = text[: found.start()].replace(request[1:], "", 1)
    if re.search("[-0-9]$", preceding):
        return None
    return found[1].split()


def check_fields(fields: list[str]) -> None:
    """Raise DamagedResponseError unless the sixth field of /#1 is T1 - T2, the last an info code.

    (The last of /#2, whose others may all be 0, is a date.)
    """
    t1, t2, difference = map(int, fields[3:6])
    if t1 - t2 != difference or int(fields[9]) > 99999:
        raise damaged("T1 - T2 or the info code does not match")


def scale_field(register: int, digits: str, configuration: str) -> Reading:
    """The reading in a field of /#1; configuration: the field of /#2 that ends with ABCCC.

    Raises MeterError where the place of the decimal point is not known.
    """
    abccc = configuration[-5:]
    scale = FIXED_SCALES.get(register)
    for codes, flow, power in SCALES_OF_CONFIGURATIONS:
        if scale is None and abccc[2:] in codes.split():
            scale = flow if register == 74 else power
    if scale is None:
        raise MeterError(
            f"the meter sent {digits}, but where its decimal point belongs is not known: compare "
            f"with the display (configuration ABCCC = {abccc})"
        )
    unit, decimals = scale
    return Reading(register, Decimal(f"{int(digits)}E-{decimals}"), unit)


# ----------------------------------------------------------------------------- 6. the serial line

BITS_PER_CHARACTER = 11  # start, 8 data (or 7 and parity), 2 stop
POLL_INTERVAL = 0.05  # s between two looks at a silent port
REOPEN_INTERVAL = 0.1  # s between two attempts to open a port
WRITE_TIMEOUT = 10.0  # s
MAX_RESPONSE = 200  # bytes; of KMP: 8 registers with 10-byte values, most bytes stuffed
MAX_RECEIVED = 8192  # bytes kept of one attempt


def ignore(*_: object) -> None:
    """A hook that does nothing."""


# log(text): each frame as hex, each failure; report(failure, seconds left): each but the last one;
# idle(): there is time for something else.
Hooks = namedtuple("Hooks", "log report idle")
SILENT = Hooks(ignore, ignore, ignore)


class Line:
    """A serial port with an IR head, or a pySerial URL: half duplex, one exchange at a time.

        open | quiet time | request | <= timeout | response | pause | next request
                          | request | <= timeout |          rest    | next request

    baudrate: of the requests; pause: s of quiet after a response; rest: s of quiet after a failure.
    The quiet time runs from the last byte sent or received. It is the rest from the moment a
    request goes out, and the pause once its response is in. A deadline is a value of
    time.monotonic(). Methods raise PortError where the port can't be opened, and AttemptError where
    another attempt may help.
    """

    def __init__(
        self, port: str, baudrate: int, pause: float, rest: float, hooks: Hooks = SILENT
    ) -> None:
        scheme = port.partition("://")[0].lower()
        self.port = port
        self.is_network = scheme in ("socket", "rfc2217")
        self.has_fixed_baudrate = scheme == "socket"
        self.baudrate = baudrate
        self.hooks = hooks
        self.received = b""  # since the last request
        self._pause = max(pause, BITS_PER_CHARACTER / baudrate)
        self._rest = rest
        self._serial: Any = None  # pySerial's port, while it is open
        self._was_open = False
        self._last_byte = time.monotonic()  # when it was written or received
        self._wire_time = 0.0  # s that the last request takes to leave, once it is written
        self._quiet_time = 0.0  # s from the last byte to the next request

    def quiet_time_left(self) -> float:
        """Seconds until the next request may go out."""
        return max(0.0, self._last_byte + self._quiet_time - time.monotonic())

    def open(self, deadline: float) -> None:
        """Open the port for this program alone.

        Until the deadline a busy port is waited for, and so is one that was open and got lost: an
        IR head that drops off the USB bus is back a second later.
        """
        waited = False
        while self._serial is None:
            time.sleep(self.quiet_time_left())  # a port that was lost gets its rest
            try:
                self._serial = _open_serial(self.port, self.baudrate, self.is_network)
            except PortError as error:
                time_left = deadline - time.monotonic()
                may_recover = self._was_open or isinstance(error, PortBusyError)
                if time_left <= 0 or not may_recover:
                    raise
                if not waited:
                    self.hooks.report(error, time_left)
                    self.hooks.idle()
                waited = True
                time.sleep(min(REOPEN_INTERVAL, time_left))
        self._was_open = True
        if waited:  # another program may have used it a moment ago
            self._last_byte = time.monotonic()
            self._quiet_time = self._pause

    def close(self) -> None:
        """Release the port."""
        port, self._serial = self._serial, None
        try:
            port.close()
        except Exception:  # it is gone, or was not open
            pass

    def send(self, request: bytes) -> None:
        """Send a request as soon as the line has been quiet long enough; the port is open."""
        self.switch(self.baudrate)
        end = time.monotonic() + 2 * self._rest  # a late response may prolong the quiet time
        self._read(wait=False)
        while self.quiet_time_left() > 0:
            if time.monotonic() > end:
                raise damaged("the bytes never stop")
            time.sleep(min(self.quiet_time_left(), POLL_INTERVAL))
            self._read(wait=False)
        self.write(request)

    def write(self, data: bytes) -> None:
        """Send at once, and in one write: the meter drops a request with a gap in it."""
        self.hooks.log(f"-> {data.hex(' ')}")
        self._guard(self._serial.write, data)
        self.received = b""  # what came before the request is no response to it
        self._last_byte = time.monotonic()
        self._wire_time = len(data) * BITS_PER_CHARACTER / self._serial.baudrate
        self._quiet_time = self._wire_time + self._rest

    def receive(self, find: Callable[[bytes], Any], timeout: float) -> Any:
        """The result of find(received since the request) as soon as that is not None.

        None after `timeout` s of silence; or, against bytes without end, when the longest response
        that began in time must be over.
        """
        silence = self._wire_time + timeout
        end = time.monotonic() + silence + MAX_RESPONSE * BITS_PER_CHARACTER / self._serial.baudrate
        new = b""
        while True:
            # The clock is read before the port: if this process was stopped for seconds, what lies
            # in the port's buffer came in time all the same.
            now = time.monotonic()
            data = self._read(wait=True)
            new = (new + data)[-MAX_RECEIVED:]
            found = find(self.received)
            if found is not None:
                self._wire_time = 0.0
                self._quiet_time = self._pause
                break
            # Silence, or bytes without end.
            if now >= end or (not data and now - self._last_byte >= silence):
                break
        if new:
            self.hooks.log(f"<- {new.hex(' ')}")
        return found

    def failure(self, request: bytes) -> AttemptError:
        """The error for what was received in place of a response to this request."""
        # Meters send a lone 00 by themselves.
        other = self.received.replace(request, b"", 1).strip(b"\0")
        if other:
            return damaged(f"{len(other)} bytes, but no response among them")
        seen = "no response from the meter"
        if request in self.received:
            seen = "only the head's echo"
        return NoResponseError(
            f"{seen}: press a button on the meter, or turn the head by 180 degrees, to wake its eye"
        )

    def switch(self, baudrate: int) -> None:
        """Set the port's speed."""
        if self._serial.baudrate != baudrate:
            self._guard(setattr, self._serial, "baudrate", baudrate)

    def _read(self, wait: bool) -> bytes:
        """Receive all bytes that have arrived; with `wait`, give the first POLL_INTERVAL to come.

        A socket:// says only whether there are some, not how many: hence the loop.
        """
        data = b""
        size = self._guard(getattr, self._serial, "in_waiting") or int(wait)
        while size and len(data) < MAX_RECEIVED:
            chunk = self._guard(self._serial.read, size)
            if not chunk:
                break
            data += chunk
            size = self._guard(getattr, self._serial, "in_waiting")
        if data:
            self.received = (self.received + data)[-MAX_RECEIVED:]
            self._last_byte = time.monotonic()
        return data

    def _guard(self, action: Callable[..., Any], *args: Any) -> Any:
        """Call into pySerial; any exception closes the port, and becomes a ConnectionLostError."""
        try:
            return action(*args)
        except Exception as error:  # it lets through OSError, termios.error, TypeError, ...
            self.close()
            self._last_byte = time.monotonic()
            self._quiet_time = self._wire_time + self._rest  # the request may still be leaving
            raise ConnectionLostError(
                f"the connection to {self.port!r} was lost: was the head unplugged, or does "
                f"another program use the port? ({error})"
            ) from error


def _open_serial(port: str, baudrate: int, is_network: bool) -> Any:
    """pySerial's port, open with 8N2 and for this program alone. Raises PortError."""
    try:
        from serial import STOPBITS_TWO, serial_for_url
    except ImportError as error:
        raise PortError(
            "pyserial can't be imported: sudo apt install python3-serial, or in a virtual "
            f"environment pip install pyserial ({error})"
        ) from error
    try:
        return serial_for_url(
            port,
            baudrate=baudrate,
            stopbits=STOPBITS_TWO,
            timeout=POLL_INTERVAL,
            # pySerial's RFC 2217 refuses a write timeout: its socket has its own.
            write_timeout=None if port.lower().startswith("rfc2217:") else WRITE_TIMEOUT,
            exclusive=True,
        )
    except Exception as error:  # as in Line._guard, and ValueError for a wrong URL
        raise _opening_error(port, is_network, error) from error


def _opening_error(port: str, is_network: bool, error: Exception) -> PortError:
    """The error for a port that could not be opened. The name is quoted: it may have blanks."""
    number = getattr(error, "errno", None)
    if is_network or (re.match("[^/]*:", port) and number in (None, errno.ENOENT)):
        kind = PortBusyError if is_network else PortError
        return kind(
            f"{port!r} can't be opened: a serial server is socket://HOST:PORT (raw TCP) or "
            "rfc2217://HOST:PORT (telnet with RFC 2217); is it running, and used by nobody else? "
            f"({error})"
        )
    if number in (errno.EAGAIN, errno.EBUSY):
        return PortBusyError(
            f"{port!r} is busy: if it is another reading, give a longer --wait; if not, stop the "
            "program that uses it (Domoticz, a terminal program)"
        )
    if number == errno.EACCES:
        return PortError(
            f"no permission to use {port!r}: sudo usermod -aG {_group_of(port)} $USER, then log "
            "out and in again"
        )
    if number == errno.ENOENT:
        return PortError(f"{port!r} does not exist: is the head plugged in? {_ports_found()}")
    return PortError(f"{port!r} can't be opened: is it the port of the head? ({error})")


def _group_of(port: str) -> str:
    """The group that may use a device."""
    from pathlib import Path

    try:
        return Path(port).group()  # type: ignore[misc,unused-ignore]  # not on Windows
    except (KeyError, OSError):  # it has no name, or the device is gone
        return "dialout"


def _ports_found() -> str:
    from glob import glob

    from serial.tools.list_ports import comports

    names = sorted(glob("/dev/serial/by-id/*")) or [port.device for port in comports()]
    return f"Ports found: {', '.join(names) or 'none'}"


# -------------------------------------------------------------------------------------- 7. meters

# A protocol is a class whose exchange() returns those of the registers that the meter has. It
# raises AttemptError where another attempt may help.


class Kmp:
    """The Kamstrup Meter Protocol (5512-447).

    Request, 9 to 23 bytes; at most 1.6 s; response, 6 to 78 bytes with values of 4 bytes; one byte
    time; next request.
    After silence or damage the meter discards requests for 1.6 s. Stuffing may double any frame.
    """

    models = "newer MULTICALs, flowIQ, 382, OMNIPOWER"  # that speak it, for --help
    baudrate = 1200
    sets_own_baudrate = False
    wait = 10.0  # s, how long to keep trying
    timeout = 2.0  # s of silence after which an attempt counts as unanswered
    pause = 0.0  # s after a response; Line keeps one byte time in any case
    rest = 1.65  # s after a failure: 1.6, and the adapter's delay
    registers: tuple[int, ...] = ()  # that can be requested; () for any
    silence_hint = (  # for the owner of a silent meter
        "a MULTICAL 401, 66, III or 41 needs --protocol mc66, a 382 or OMNIPOWER --baudrate 9600"
    )

    def exchange(self, line: Line, registers: Sequence[int], timeout: float) -> list[Reading]:
        """One GetRegister request and its response."""
        request = encode_request(registers)
        line.send(request)
        line.hooks.idle()
        blocks = line.receive(lambda received: find_response(received, registers), timeout)
        if blocks is None:
            for frame in find_frames(line.received)[-1:]:
                decode_response(frame, registers)  # raises what is wrong with it
            raise line.failure(request)
        return [decode_block(register, block) for register, block in blocks.items()]


class Mc66:
    """The ASCII protocol of the MULTICAL 401, 66, III and 41 (section 5).

    The meter ignores requests while it measures, and must be left alone between two of them.
    """

    models = "MULTICAL 401, 66, III, 41"
    baudrate = 300
    sets_own_baudrate = True
    wait = 30.0
    timeout = 3.0
    pause = 5.0
    rest = 5.0
    registers = tuple(sorted({**READ_OUT_GROUPS, **DATA_FIELDS}))
    silence_hint = "other MULTICAL and flowIQ need no --protocol mc66"
    data_baudrate = 1200  # of the responses to /#1 and /#2
    transmit_margin = 0.09  # s that an adapter may take to send what was written
    acknowledge_delay = 0.25  # s within which a meter that needs no ACK begins its read-out

    def __init__(self) -> None:
        self._configuration = ""  # the field of /#2 that ends with ABCCC, once it is known

    def exchange(self, line: Line, registers: Sequence[int], timeout: float) -> list[Reading]:
        """One read-out, or one or two data strings."""
        (register,) = registers
        if register in READ_OUT_GROUPS:
            read_out = self._receive_read_out(line, timeout)
            return [read_out_reading(split_read_out(read_out), register)]
        if not self._configuration and register not in FIXED_SCALES:
            fields = self._receive_fields(line, "/#2", timeout)
            self._configuration = fields[CONFIGURATION_FIELD]
        fields = self._receive_fields(line, "/#1", timeout)
        check_fields(fields)
        return [scale_field(register, fields[DATA_FIELDS[register]], self._configuration)]

    def _receive_read_out(self, line: Line, timeout: float) -> bytes:
        """/?! -> /KAM... (ACK ->) STX groups ETX BCC, all at 300 baud."""
        request = encode_characters(READ_OUT_REQUEST)
        line.send(request)
        if not line.receive(find_identification, timeout):
            raise line.failure(request)
        line.receive(lambda received: None, self.acknowledge_delay)
        if READ_OUT_START not in line.received:
            line.write(encode_characters(READ_OUT_ACKNOWLEDGE))
        read_out: bytes | None = line.receive(find_read_out, timeout)
        if read_out is None:
            raise damaged("the read-out has no end")
        return read_out

    def _receive_fields(self, line: Line, request_text: str, timeout: float) -> list[str]:
        """/#1 or /#2 at 300 baud -> ten fields at 1200 baud."""
        if line.has_fixed_baudrate:
            raise PortError(
                f"{line.port!r} can't change its speed, which this register needs: use rfc2217://"
            )
        request = encode_characters(request_text)
        line.send(request)
        line.receive(lambda received: None, self.transmit_margin)  # an echo comes at 300 baud
        line.switch(self.data_baudrate)
        fields: list[str] | None = line.receive(
            lambda received: find_data_string(received, request_text),
            timeout,
        )
        if fields is None:
            raise line.failure(request)
        return fields


# By the name that --protocol takes. A new one needs its frames (before section 6), its class, and
# its entry here.
PROTOCOLS: dict[str, type[Kmp | Mc66]] = {"kmp": Kmp, "mc66": Mc66}

ATTEMPTS_IN_ALL = 2  # to read a group of registers, before they are requested one by one
FOREVER = float("inf")  # s
MAX_LATE_RESPONSES = 20  # that may still come; an older one would be over a minute late


class Meter:
    """A meter at a port, for use in a `with` statement. The port is opened when it is needed.

    port: a device or a pySerial URL; protocol: "kmp" or "mc66"; baudrate: for KMP, 1200 if not
    given; wait: s to keep trying while the port is busy or the meter does not respond (0: one
    attempt); timeout: s of silence after which an attempt counts as unanswered. Raises UsageError.
    """

    def __init__(
        self,
        port: str,
        protocol: str = "kmp",
        baudrate: int | None = None,
        wait: float | None = None,
        timeout: float | None = None,
        hooks: Hooks = SILENT,
    ) -> None:
        self._protocol = known = PROTOCOLS[protocol]()
        if baudrate is not None and known.sets_own_baudrate:
            raise UsageError(f"--baudrate does not go with {protocol}: it has its own speeds")
        baudrate = known.baudrate if baudrate is None else baudrate
        self.wait = known.wait if wait is None else wait
        self.timeout = known.timeout if timeout is None else timeout
        if not (baudrate > 0 and 0 < self.timeout < FOREVER and 0 <= self.wait < FOREVER):
            raise UsageError("--baudrate and --timeout must be above 0, and --wait at least 0")
        self._line = Line(port, baudrate, known.pause, known.rest, hooks)
        # Responses to earlier requests that may still come: at first one, to a program that was
        # stopped just before.
        self._late_responses = 1

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def read(self, register: int | str) -> Reading:
        """One register, by id or symbol. Raises UsageError, PortError or MeterError."""
        number = register_id(register)
        if self._protocol.registers and number not in self._protocol.registers:
            raise UnknownRegisterError(
                "meters with this protocol have no such register: they have "
                + ", ".join(map(str, self._protocol.registers))
            )
        readings = self._request([number], time.monotonic() + self.wait)
        if not readings:
            raise UnknownRegisterError("the meter has no such register: all prints what it has")
        return readings[0]

    def read_all(self) -> Iterator[Reading]:
        """Every known register that the meter has, as soon as it is read. For KMP alone.

        Until the meter has responded, as read(); then `wait` runs from the last valid response. A
        group of registers that fails is requested one by one. At the end, raises what kept some
        from being read, if any.
        """
        if self._protocol.registers:
            raise UsageError("`all` does not go with this protocol: request one of its registers")
        numbers = list(known_registers())
        size = REGISTERS_PER_REQUEST
        groups = [numbers[start : start + size] for start in range(0, len(numbers), size)]
        unread = []
        failures_in_a_row = 0
        max_attempts = 0  # any number, until the meter has responded
        is_confirmed = False
        deadline = time.monotonic() + self.wait
        while groups:
            group = groups.pop(0)
            try:
                readings = self._request(group, deadline, max_attempts if len(group) > 1 else 1)
                max_attempts = ATTEMPTS_IN_ALL
                deadline = time.monotonic() + self.wait
                if readings and not is_confirmed:
                    # It may be a late response to a stopped program, with a part of the group.
                    is_confirmed = True
                    readings = self._request(group, deadline, ATTEMPTS_IN_ALL)
            except (AttemptError, PortError) as error:
                failure = error
                failures_in_a_row += 1
                if max_attempts == 0:
                    raise
                is_gone = failures_in_a_row > 1 and time.monotonic() >= deadline
                if is_gone or isinstance(error, PortError):
                    unread.append(f"from {group[0]} on")
                    break
                if len(group) > 1:
                    groups = [[number] for number in group] + groups
                else:
                    unread.append(str(group[0]))
                continue
            failures_in_a_row = 0
            yield from readings
        if unread:
            raise type(failure)(f"could not read {', '.join(unread)}: {failure}")

    def _request(
        self, registers: Sequence[int], deadline: float, max_attempts: int = 0
    ) -> list[Reading]:
        """Those of the registers that the meter has, as soon as one attempt brings them.

        Keeps trying until the deadline or for max_attempts (0: any number). An empty response names
        no register: where it proves nothing, the registers are requested again at once. Raises
        PortError or MeterError.
        """
        attempts = 0
        worst: AttemptError | None = None  # the last failure other than silence, else the last
        # So many empty responses prove nothing: they may be late ones, to earlier registers. (Late
        # ones to these registers are as good as punctual ones.)
        doubtful = self._late_responses
        while True:
            self._line.open(deadline)
            try:
                readings = self._protocol.exchange(self._line, registers, self.timeout)
            except AttemptError as failure:
                attempts += 1
                self._late_responses = min(self._late_responses + 1, MAX_LATE_RESPONSES)
                if worst is None or not isinstance(failure, NoResponseError):
                    worst = failure
                self._line.hooks.log(str(failure))
                time_left = deadline - time.monotonic()
                if attempts == max_attempts or time_left <= self._line.quiet_time_left():
                    raise self._with_hints(worst, attempts) from None
                self._line.hooks.report(failure, time_left)
                continue
            if readings:
                # Responses come in order, so that none to earlier registers can follow; and late
                # ones to these registers are not empty. But after one of the single attempts of
                # read_all, those to its whole group may follow.
                if max_attempts != 1:
                    self._late_responses = 0
                return readings
            if doubtful == 0:
                return []
            doubtful -= 1
            if time.monotonic() > deadline + self.timeout:
                raise DamagedResponseError(
                    "only empty responses, maybe late ones to other requests: try again in a minute"
                )

    def _with_hints(self, failure: AttemptError, attempts: int) -> AttemptError:
        """The failure after so many attempts, with what else may be its cause."""
        sentence = str(failure)
        if isinstance(failure, NoResponseError):
            sentence += f"; {self._protocol.silence_hint}"
        if self._line.is_network and not isinstance(failure, ConnectionLostError):
            sentence += (
                f"; the serial server must be set to {self._line.baudrate} baud, 8N2; raw TCP for "
                "socket://, telnet for rfc2217://"
            )
        if attempts > 1:
            sentence += f" ({attempts} attempts)"
        return type(failure)(sentence)


def read_register(port: str, register: int | str, **options: Any) -> Reading:
    """Read one register; the port is closed when this returns. Options and errors as of Meter."""
    with Meter(port, **options) as meter:
        return meter.read(register)


Register = namedtuple("Register", "register symbol unit description")  # '' for no symbol or unit


def known_registers() -> dict[int, Register]:
    """The registers of REGISTER_TABLE (section 10) by id, in ascending order."""
    registers = {}
    for row in REGISTER_TABLE.strip().splitlines():
        number, symbol, unit, description = row.split(None, 3)
        known = Register(int(number), symbol.strip("-"), unit.strip("-"), description)
        registers[known.register] = known
    return registers


def register_id(name: int | str) -> int:
    """The id that 60, "60", "0x3c" or a symbol such as "E1" stands for.

    Symbols may be in any case, with or without hyphens. Raises UsageError for anything else.
    """
    text = str(name).lower()
    number = -1
    try:
        number = int(text, 16 if text.startswith("0x") else 10)
    except ValueError:
        for known in known_registers().values():
            if known.symbol and known.symbol.lower().replace("-", "") == text.replace("-", ""):
                number = known.register
    if not 0 <= number <= 0xFFFF:
        raise UsageError(
            f"no register {name!r}: heat is usually E1, hot tap water VA; --list-registers shows "
            "all"
        )
    return number


# ------------------------------------------------------------------------------------ 8. Domoticz

CONNECT_TIMEOUT = 5.0  # s
READ_TIMEOUT = 10.0  # s
MAX_ANSWER = 4 * 1024 * 1024  # bytes; a list of several hundred sensors has about 1 MiB
DUMMY_HARDWARE = 15  # its Type
EXACT = Context(prec=1000)  # more digits than a value of 255 bytes times a factor can have

# Kinds of sensors, as Domoticz's pages call them, and what createdevice calls them.
COUNTER, TEMPERATURE, CUSTOM_SENSOR = "Counter", "Temperature", "Custom Sensor"
MAPPED_TYPES = {COUNTER: "0x7100", TEMPERATURE: "0x5005", CUSTOM_SENSOR: "0xF31F"}
# A Counter's Type, as SwitchTypeVal. Energy, Gas, Water and Energy Generated have fixed units.
ENERGY, WATER, CUSTOM, TIME = "0", "2", "3", "5"
COUNTER_UNITS = {ENERGY: "kWh", "1": "m3", WATER: "m3", "4": "kWh"}
NEW_SENSORS = (  # for readings in these units: kind, Type, quantity; for others a Custom Sensor
    ("kWh", COUNTER, ENERGY, ""),
    ("m3 l", COUNTER, WATER, ""),
    ("J kJ MJ GJ Wh MWh GWh cal kcal Mcal Gcal", COUNTER, CUSTOM, "Energy"),
    ("varh kvarh Mvarh Gvarh VAh kVAh MVAh GVAh", COUNTER, CUSTOM, "Energy"),
    ("ton", COUNTER, CUSTOM, "Mass"),
    ("C", TEMPERATURE, "", ""),
)
QUANTITIES = (  # units that can stand for each other, in lower case, and the size of each
    "j=1 kj=1E3 mj=1E6 gj=1E9 wh=3600 kwh=3.6E6 mwh=3.6E9 gwh=3.6E12 "
    "cal=4.1868 kcal=4186.8 mcal=4.1868E6 gcal=4.1868E9",
    "w=1 kw=1E3 mw=1E6 gw=1E9",
    "l=1 liter=1 litre=1 m3=1E3",
    "l/h=1 m3/h=1E3",
)

Sensor = namedtuple("Sensor", "title kind unit divider")  # unit: '' for any; shows svalue / divider


def sensor_of(device: dict[str, Any]) -> Sensor:
    """The sensor that getdevices describes. Raises DomoticzError if it can't show a reading."""
    get = device.get
    idx, hardware, subtype = get("idx"), get("HardwareName"), get("SubType")
    title = f'sensor {idx} "{get("Name")}"'
    right_idx = f"is {idx} the right idx?"
    counter_type = str(get("SwitchTypeVal"))
    kind, unit, divider = "", "", 1
    if subtype == "Custom Sensor":
        kind, unit = CUSTOM_SENSOR, str(get("SensorUnit", ""))
    elif get("Type") == "Temp":
        kind, unit = TEMPERATURE, "C"  # also where Domoticz is set to show F
    elif get("Type") == "RFXMeter":
        kind, divider = COUNTER, get("Divider") or 0
        unit = COUNTER_UNITS.get(counter_type) or str(get("ValueUnits", ""))
    for is_wrong, what in (
        (get("HardwareTypeVal") != DUMMY_HARDWARE, f"belongs to {hardware}: {right_idx}"),
        (get("HardwareDisabled"), f"is switched off: enable {hardware} in Setup > Hardware"),
        (not kind, f"of type {subtype} takes no readings: {right_idx} (a Pressure: --multiply 1)"),
        (counter_type == TIME, "shows no readings: set its Type to Custom"),
        (not divider, "has an unreadable value: push once with the --multiply that fits it"),
        (divider % 1, f"has a Counter Divider of {divider}: set it to 1000 in its Edit dialog"),
    ):
        if is_wrong:
            raise DomoticzError(f"{title} {what}")
    return Sensor(title, kind, unit.strip(), Decimal(divider))


def svalue_for(reading: Reading, device: dict[str, Any]) -> str:
    """What to push to make a sensor show the reading, a number; device: as getdevices has it.

    Raises DomoticzError if the sensor can't show it.
    """
    sensor = sensor_of(device)
    value, unit = reading.value, reading.unit
    takes_any = not sensor.unit or (sensor.kind == CUSTOM_SENSOR and not unit)
    sizes = sizes_of(unit, unit if takes_any else sensor.unit)
    if sizes is None:
        cure = f"--create makes a sensor for {unit}" if unit else "if so, give its --multiply"
        if sensor.kind == COUNTER and sensor.unit == "kWh" and unit in ("m3", "l"):  # a fresh one
            cure = "if so, set its Type to Water in its Edit dialog"
        raise DomoticzError(
            f"{sensor.title} shows {sensor.unit}, not {unit or 'a plain number'}: is "
            f"{device.get('idx')} the right idx? ({cure})"
        )
    size, shown_size = sizes
    with localcontext(EXACT):
        last_digit = last_digit_of(value) * size / shown_size
        if sensor.kind == COUNTER:
            # It keeps whole steps of 1 / divider: at most ten times the reading's last digit.
            if last_digit * sensor.divider * 10 < 1:
                raise DomoticzError(
                    f"{sensor.title} has a Counter Divider of {sensor.divider}, too small for "
                    f"{reading}: set it to {divider_for(last_digit)} in its Edit dialog"
                )
            steps = value * size * sensor.divider / shown_size
            return plain(steps.to_integral_value(ROUND_HALF_UP))
        if size == shown_size:
            return reading.digits
        return plain((value * size / shown_size).quantize(Decimal("0.001"), ROUND_HALF_UP))


def outcome_of(svalue: str, device: dict[str, Any]) -> str:
    """Which sensor this is, what it would show of svalue, its offset included, and shows now."""
    sensor = sensor_of(device)
    shown = Decimal(svalue) / sensor.divider + Decimal(str(device.get("AddjValue") or 0))
    now = device.get("Data")
    text = f"{plain(shown)} {sensor.unit}".rstrip()
    return f"{sensor.title} ({sensor.kind}), which would show {text}, and shows {now} now"


def sizes_of(unit: str, shown_unit: str) -> tuple[Decimal, Decimal] | None:
    """The relative sizes of two units of one quantity; None if they are of different ones."""
    unit = unit.lower()
    shown_unit = shown_unit.lower().replace("\u00b3", "3").replace("\u00b0", "")
    if unit == shown_unit:
        return Decimal(1), Decimal(1)
    for quantity in QUANTITIES:
        sizes = dict(pair.split("=") for pair in quantity.split())
        if unit in sizes and shown_unit in sizes:
            return Decimal(sizes[unit]), Decimal(sizes[shown_unit])
    return None


def last_digit_of(value: Decimal) -> Decimal:
    """The size of the value's last digit: 0.001 for 16.235."""
    return Decimal(f"1E{value.as_tuple().exponent}")


def divider_for(last_digit: Decimal) -> int:
    """The Counter Divider that keeps a last digit of this size: 1000, or a higher power of ten."""
    return int(10 ** max(3, -last_digit.adjusted()))


def plain(value: Decimal) -> str:
    """The value in plain digits, without trailing zeros, -0 or an exponent."""
    digits = f"{value or abs(value):f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


NO_LOOK = "does not know this call: is it older than 2023.2? (--multiply pushes without checking)"


def import_requests() -> None:
    """Import what a push needs: it takes about as long as the meter's response."""
    try:
        import requests.adapters  # noqa: F401
    except Exception:  # a broken library may raise anything
        pass  # Domoticz reports it: the reading is worth more than the reason


class Domoticz:
    """A Domoticz server, 2023.2 or newer, with its JSON API. Any call may raise DomoticzError.

    url: http(s)://host:port, with a path where Domoticz has one; verify: whether to verify its
    https certificate, or the file of the CA that signed it; log: called with each call and the
    status of its answer. It connects directly: no proxies, no redirects, no ~/.netrc. Raises
    UsageError for a URL that makes no sense.
    """

    def __init__(
        self,
        url: str,
        user: str = "",
        password: str = "",
        verify: bool | str = True,
        log: Callable[..., None] = ignore,
    ) -> None:
        self.url = url.partition("#")[0].rstrip("/")  # its pages have /#/Dashboard
        if re.search("[@?]", url):  # not repeated: there may be a password in it
            raise UsageError("no login goes into the URL: set DOMOTICZ_USER and DOMOTICZ_PASSWORD")
        if not self.url.lower().startswith(("http://", "https://")):
            raise UsageError(f"{self.url!r} is not a URL: put http:// or https:// in front")
        # Domoticz's pages hash a password by its character codes, and thus as Latin-1. A file
        # edited on Windows ends its lines with a carriage return.
        self._login = (
            user.rstrip("\r").encode("utf-8", "replace"),
            password.rstrip("\r").encode("latin-1", "replace"),
        )
        self._verify = verify
        self._log = log

    def look(self, idx: int | str) -> dict[str, Any]:
        """What getdevices has of this sensor: Name, Type, SubType, Data, ... Changes nothing."""
        devices = self._list("getdevices", NO_LOOK, rid=idx, used="all", displaydisabled=1)
        if not devices:
            raise self._error(
                f"has no sensor {idx}, or this user may not see it: Setup > Devices lists the idx "
                "of each (--multiply pushes without checking)"
            )
        return devices[0]

    def push(self, idx: int | str, svalue: str) -> None:
        """Give the sensor a value, in plain digits: Domoticz accepts anything."""
        self._call(
            "udevice",
            f"has no sensor {idx}: Setup > Devices lists the idx of each",
            idx=idx,
            nvalue=0,
            svalue=svalue,
        )

    def create(self, name: str, reading: Reading, report: Callable[..., None]) -> str:
        """Make the right sensor for a reading, and report each step once it is done; its idx."""
        from base64 import b64encode

        devices = self._list(
            "getdevices", NO_LOOK, filter="all", used="all", displayhidden=1, displaydisabled=1
        )
        for device in devices:
            if str(device.get("Name")).strip() == name:
                idx = device.get("idx")
                raise self._error(
                    f'already has a sensor "{name}", idx {idx}: push to it with '
                    f"{reading.register} {idx}, or choose another name"
                )
        hardware = [
            row.get("idx")
            for row in self._list("gethardware", "does not list its hardware: is it too old?")
            if row.get("Type") == DUMMY_HARDWARE and row.get("Enabled") == "true"
        ]
        if not hardware:
            dummy = {"htype": DUMMY_HARDWARE, "port": 1, "name": "Kamstrup", "enabled": "true"}
            answer = self._call("addhardware", "added no hardware: is the user an Admin?", **dummy)
            hardware = [answer.get("idx")]
            report('created:  hardware "Kamstrup" (Dummy)')
        kind, counter_type, quantity = CUSTOM_SENSOR, "", ""
        for units, *row in NEW_SENSORS:
            if reading.unit in units.split():
                kind, counter_type, quantity = row
        answer = self._call(
            "createdevice",
            "did not make the sensor: is the user an Admin?",
            idx=hardware[0],
            sensorname=name,
            sensormappedtype=MAPPED_TYPES[kind],
            sensoroptions=f"1;{reading.unit}" if kind == CUSTOM_SENSOR else "",
        )
        idx = str(answer.get("idx"))
        report(f'created:  sensor {idx} "{name}" ({kind})')
        if kind == COUNTER:
            unit = COUNTER_UNITS.get(counter_type) or reading.unit
            litres = 1000 if reading.unit == "l" else 1  # shown as m3
            divider = divider_for(last_digit_of(reading.value) / litres)
            options = f"ValueQuantity:{quantity} ({unit});ValueUnits:{unit};" if quantity else ""
            self._call(
                "setused",
                "did not set up the sensor: do it in its Edit dialog",
                idx=idx,
                name=name,
                description="",
                switchtype=counter_type,
                addjvalue=0,
                addjvalue2=divider,
                customimage=0,
                used="true",
                options=b64encode(options.encode()).decode(),
            )
            report(f"set up:   shows {unit}, Counter Divider {divider}")
        return idx

    def _list(self, param: str, refusal: str, **params: Any) -> list[dict[str, Any]]:
        """The result of a call that lists something; without one, there is nothing to list."""
        rows = self._call(param, refusal, **params).get("result", [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._error("sent a list that makes no sense: is this the address of Domoticz?")
        return rows

    def _call(self, param: str, refusal: str, **params: Any) -> dict[str, Any]:
        """The answer to a call of the JSON API; refusal: what a status other than OK means."""
        from json import loads

        try:
            status, body = self._get({"type": "command", "param": param, **params})
        except (ImportError, AttributeError) as error:  # the latter if half of it was updated
            raise DomoticzError(
                "requests can't be imported: sudo apt install python3-requests, or in a virtual "
                f"environment pip install requests ({error})"
            ) from error
        except Exception as error:  # requests lets through some of urllib3's, http.client's, ssl's
            self._log(f"<- {error!r}")
            raise self._error(_cause_of(error)) from error
        try:
            answer = loads(body)
        except (RecursionError, ValueError):
            answer = {}
        if not isinstance(answer, dict):
            answer = {}
        # Not the whole body: a list of hardware has passwords in it.
        words = [str(answer[key]) for key in ("status", "title", "message") if key in answer]
        self._log(f"<- HTTP {status}, {len(body)} bytes: {', '.join(words)}")
        if status != 200:
            raise self._error(f"{self._cause_of_status(status, answer)} (HTTP {status})")
        if not answer:
            raise self._error("sent an answer that is not JSON: is this the address of Domoticz?")
        if answer.get("status") != "OK":
            raise self._error(f"{refusal} ({', '.join(words)})")
        return answer

    def _get(self, params: dict[str, Any]) -> tuple[int, bytes]:
        """HTTP status and body of the answer."""
        from requests import Request
        from requests.adapters import HTTPAdapter
        from urllib3.util.retry import Retry

        # Domoticz never asks for a login (no WWW-Authenticate), so it is sent with each request.
        # The bare adapter knows no proxies, no redirects and no ~/.netrc.
        request = Request(
            "GET",
            f"{self.url}/json.htm",
            params=params,
            auth=self._login if self._login[0] else None,
        ).prepare()
        self._log(f"-> GET {request.url}")
        # Only what can't have arrived is sent again. (read=0 would hide the cause of a failure.)
        retry = Retry(
            3,
            connect=3,
            read=False,
            other=0,
            backoff_factor=0.5,
            respect_retry_after_header=False,
        )
        response = HTTPAdapter(max_retries=retry).send(
            request, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT), verify=self._verify
        )
        return response.status_code, response.raw.read(MAX_ANSWER)

    def _cause_of_status(self, status: int, answer: dict[str, Any]) -> str:
        """What an HTTP status means, and what to do."""
        if status == 401 and self._login[0]:
            return (
                "refused the login: check DOMOTICZ_USER and DOMOTICZ_PASSWORD, and restart "
                "Domoticz if the user is new; over plain http, or behind a proxy that ends the "
                "https, it must be allowed in Setup > Settings > Security"
            )
        if status == 401:
            return (
                "needs a login: export DOMOTICZ_USER and DOMOTICZ_PASSWORD, or add this computer "
                "to the trusted networks in Setup > Settings > Security"
            )
        if status == 403 and answer:
            return (
                "refused: this user may only view, or may not use this sensor, or needs the rights "
                "of an Admin to make one (Setup > Users)"
            )
        if status in (400, 404):
            return "does not know this path: is the end of the URL wrong, or missing (/domoticz)?"
        return "did not answer as Domoticz does: is it a proxy, or should the URL begin with https?"

    def _error(self, what: str) -> DomoticzError:
        return DomoticzError(f"Domoticz at {self.url} {what}")


def _cause_of(error: BaseException | None) -> str:
    """Why there was no answer, and what to do, by the class of an exception or of one behind it."""
    from http.client import HTTPException
    from socket import gaierror, timeout
    from ssl import SSLCertVerificationError, SSLError

    from requests.exceptions import SSLError as CertificateError  # if none of Python's is behind it

    reasons: list[Any] = [  # the last one that fits
        (
            (ConnectionError, HTTPException),
            "broke off: http or https? It may act all the same",
        ),
        (ConnectionRefusedError, "refused the connection: is it running, and is this its port?"),
        ((timeout, TimeoutError), "did not answer in time: is it busy? It may act all the same"),
        (gaierror, "was not found: check the spelling of the host"),
        (SSLError, "can't be reached by https: is this its https port?"),
        (
            (SSLCertVerificationError, CertificateError),
            "has a certificate that can't be verified: name the file of its CA in "
            "REQUESTS_CA_BUNDLE, or give --insecure if you trust the network",
        ),
    ]
    found = f"gave no valid answer: check the URL, and REQUESTS_CA_BUNDLE if it is set ({error})"
    while error:
        for kind, reason in reasons:
            if isinstance(error, kind):
                found = f"{reason} ({error})"
        error = error.__context__
    return found


# -------------------------------------------------------------------------------- 9. command line

DEFAULT_URL = "http://127.0.0.1:8080"
CRON_OPTIONS = (  # those with a value that a push needs each time, and their defaults
    ("protocol", "kmp"),
    ("baudrate", None),
    ("wait", None),
    ("timeout", None),
    ("url", DEFAULT_URL),
)
EPILOG = """\
User and password of Domoticz come from DOMOTICZ_USER and DOMOTICZ_PASSWORD.

exit codes:
  0    done
  1    the output can't be written
  2    wrong usage
  3    the port can't be opened, stays busy, or the connection to it was lost
  4    the meter did not respond
  5    what came back was damaged, or no response to the request
  6    the meter has no such register
  7    Domoticz was not reached or refused, or a sensor can't show the reading
  130  interrupted

examples:
  kamstrup_read.py /dev/ttyUSB0 60                    print the heat energy
  kamstrup_read.py /dev/ttyUSB0 60 --create Heating   make a sensor for it
  kamstrup_read.py /dev/ttyUSB0 60 12                 update it, as cron does
"""


class Parser(argparse.ArgumentParser):
    """Complains in one line, like the rest of the program."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (--help shows more)")


def plain_number(text: str) -> Decimal:
    """An argparse type: a number in plain digits; Decimal would take nan and 1e999999, too."""
    if not re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 1000 or 0.5")
    return Decimal(text)


def build_parser() -> Parser:
    """The command line."""
    about = "; ".join(
        f"{name}: {protocol.models} (--wait {protocol.wait:g} --timeout {protocol.timeout:g})"
        for name, protocol in PROTOCOLS.items()
    )
    parser = Parser(
        prog="kamstrup_read.py",
        usage="%(prog)s [options] PORT REGISTER [IDX]",
        description="Read one register of a Kamstrup meter; print it, or push it to Domoticz.",
        epilog=EPILOG,
        # With a width, argparse need not import shutil at each start to ask for the terminal's.
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=80),
        allow_abbrev=False,
    )
    add = parser.add_argument
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
        help="idx of the Domoticz sensor to update; without it, the reading is printed",
    )
    add("--version", action="version", version=f"kamstrup_read {__version__}")
    add("--list-registers", action="store_true", help="print the known registers and exit")
    add("--json", action="store_true", help="print as JSON")
    add(
        "-v",
        "--verbose",
        action="store_true",
        help="report on stderr: each frame, each attempt, each call to Domoticz",
    )
    add = parser.add_argument_group("meter").add_argument
    add("--protocol", choices=PROTOCOLS, default="kmp", help=f"{about} (default: kmp)")
    add(
        "--baudrate",
        metavar="N",
        type=int,
        help="9600 for a 382 or OMNIPOWER (default: 1200)",
    )
    add(
        "--wait",
        metavar="SECONDS",
        type=float,
        help="how long to keep trying while the port is busy or the meter does not respond; "
        "0: one attempt",
    )
    add(
        "--timeout",
        metavar="SECONDS",
        type=float,
        help="seconds of silence after which an attempt counts as unanswered",
    )
    add = parser.add_argument_group("Domoticz").add_argument
    add(
        "--create",
        metavar="NAME",
        help="in place of IDX: make the right sensor for this register, update it, and print what "
        "goes into the crontab",
    )
    add(
        "--multiply",
        metavar="FACTOR",
        type=plain_number,
        help="push the reading times FACTOR (1: as it is) without checking the sensor (default: "
        "push what makes the sensor show the reading)",
    )
    add("--url", help=f"address of Domoticz; overrides DOMOTICZ_URL (default: {DEFAULT_URL})")
    add("--insecure", action="store_true", help="don't verify its https certificate")
    add("--dry-run", action="store_true", help="print what would be pushed to IDX; change nothing")
    return parser


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments. Raises UsageError for those that contradict each other or could do harm."""
    parser = build_parser()
    args, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:  # no more than its name: somebody may have tried --password
        parser.error("unknown argument: " + re.sub("^(--[^=]*|.?.?).*", r"\1", unknown[0]))
    if args.list_registers:
        return args
    if args.register is None:
        parser.error("REGISTER is missing: after PORT, give 60 (usually heat), or all")
    args.register_id = None if args.register.lower() == "all" else register_id(args.register)
    is_all = args.register_id is None
    is_idx = args.idx is None or re.fullmatch("[1-9][0-9]*", args.idx)
    has_factor = args.multiply is not None
    for is_wrong, what in (
        (not is_idx, f"IDX {args.idx!r} is not a number above 0: quote a NAME of two words"),
        (args.create is not None and not args.create.strip(), "--create needs a name"),
        (args.create and args.idx, "--create makes a sensor: leave out IDX"),
        (args.create and has_factor, "--create knows what the sensor needs: leave out --multiply"),
        (is_all and (args.idx or args.create), "all can only be printed: leave out the sensor"),
        (not args.idx and (has_factor or args.dry_run), "--multiply and --dry-run need IDX"),
    ):
        if is_wrong:
            parser.error(what)
    return args


def to_stdout(text: str) -> None:
    """Print a line of the result. Raises OSError."""
    if sys.stdout is None:
        raise OSError("it is closed")
    print(one_line(text), flush=True)


def to_stderr(text: str) -> None:
    """Report something to the user, in one line."""
    try:
        if sys.stderr is not None:
            print(one_line(text), file=sys.stderr, flush=True)
    except OSError:  # nobody to report to
        pass


def report(failure: KamstrupError, seconds_left: float) -> None:
    """Report a failure that is not the last, without its advice."""
    to_stderr(f"{str(failure).partition(': ')[0]}, {seconds_left:.0f} s left")


def one_line(text: str) -> str:
    """The text without the line breaks and escapes of a meter, a server or a file name."""
    return "".join(char if char.isprintable() else " " for char in text)


def to_json(reading: Reading) -> dict[str, Any]:
    """The reading with its symbol and description, for json.dumps."""
    register, value, unit = reading
    known = known_registers().get(register, Register(register, "", "", ""))
    if isinstance(value, Decimal):
        value = float(value) if "." in reading.digits else int(value)
    return {**known._asdict(), "unit": unit, "value": value}


def print_all(meter: Meter, as_json: bool) -> None:
    """Print every known register that the meter has, each as soon as it is read; JSON at the end.

    What was read is printed before an error is raised.
    """
    from json import dumps

    registers = known_registers()
    readings = []
    try:
        for reading in meter.read_all():
            readings.append(reading)
            if not as_json:
                known = registers[reading.register]
                value = f"{reading.digits:>11} {reading.unit}"
                to_stdout(
                    f"{known.register:>5}  {known.symbol:<12} {value:<21} {known.description}"
                )
    finally:
        if as_json and readings:
            to_stdout(dumps([to_json(reading) for reading in readings]))
    if not readings:
        raise UnknownRegisterError(
            "the meter has none of the known registers: request others by id"
        )


def push(domoticz: Domoticz, args: argparse.Namespace, reading: Reading) -> None:
    """Make a sensor show the reading: that of IDX, or a new one; or print what would be pushed.

    A new one gets its value at once: at the next full five minutes Domoticz logs a new Counter's 0,
    and takes the meter's whole total for that day's use if it comes later.
    """
    idx = args.idx
    if args.create:
        idx = domoticz.create(args.create.strip(), reading, to_stdout)
    device = {}
    if args.multiply is None:
        device = domoticz.look(idx)
        svalue = svalue_for(reading, device)
    else:
        svalue = plain(EXACT.multiply(reading.value, args.multiply))
    if args.dry_run:
        outcome = outcome_of(svalue, device) if device else f"sensor {idx}, without checking it"
        to_stdout(f"would push {svalue} to {outcome}")
        return
    domoticz.push(idx, svalue)
    if args.create:
        to_stdout(f"pushed:   {svalue}")
        to_stdout(f"in cron:  {cron_words(args, idx)}")


def cron_words(args: argparse.Namespace, idx: str) -> str:
    """What follows PORT in the crontab to push to this idx from now on."""
    words = [args.register, idx]
    for name, default in CRON_OPTIONS:
        value = getattr(args, name)
        if value != default:
            words += [f"--{name}", str(value).removesuffix(".0")]
    if args.insecure:
        words.append("--insecure")
    return " ".join(words)


def run(args: argparse.Namespace) -> None:
    """Do what the command line says. Raises KamstrupError."""
    if args.list_registers:
        for row in REGISTER_TABLE.strip("\n").splitlines():
            to_stdout(row)
        return
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    hooks = Hooks(
        to_stderr if args.verbose else ignore,
        report if on_terminal and not args.verbose else ignore,
        import_requests if args.idx or args.create else ignore,
    )
    domoticz = None
    if args.idx or args.create:
        variable = os.environ.get
        domoticz = Domoticz(
            args.url or variable("DOMOTICZ_URL") or DEFAULT_URL,
            variable("DOMOTICZ_USER", ""),
            variable("DOMOTICZ_PASSWORD", ""),
            not args.insecure and (variable("REQUESTS_CA_BUNDLE") or True),
            hooks.log,
        )
        args.url = domoticz.url
    with Meter(args.port, args.protocol, args.baudrate, args.wait, args.timeout, hooks) as meter:
        if args.register_id is None:
            print_all(meter, args.json)
            return
        reading = meter.read(args.register_id)
    # The port is closed: others may read while Domoticz is called.
    if domoticz is None:
        from json import dumps

        to_stdout(dumps(to_json(reading)) if args.json else str(reading))
    elif isinstance(reading.value, str):
        raise UsageError(f"{args.register} is {reading}, not a number: it can only be printed")
    else:
        push(domoticz, args, reading)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; its exit code."""
    prefix = "kamstrup_read: "
    try:
        args = parse(arguments)
        run(args)
    except KamstrupError as error:
        if error.exit_code > UsageError.exit_code:  # two jobs may write into one log
            prefix += f"register {args.register}: "
        to_stderr(f"{prefix}{error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        return 1
    except OSError as error:
        to_stderr(f"{prefix}the output can't be written: {error}")
        return 1
    return 0


# -------------------------------------------------------------------------------------- 10. tables

# The unit ids of KMP: 21 is W and 25 is var, where published tables are wrong by a factor of 1000.
UNIT_TABLE = """
0, 1 Wh, 2 kWh, 3 MWh, 4 GWh, 5 J, 6 kJ, 7 MJ, 8 GJ, 9 cal, 10 kcal, 11 Mcal, 12 Gcal, 13 varh,
14 kvarh, 15 Mvarh, 16 Gvarh, 17 VAh, 18 kVAh, 19 MVAh, 20 GVAh, 21 W, 22 kW, 23 MW, 24 GW, 25 var,
26 kvar, 27 Mvar, 28 Gvar, 29 VA, 30 kVA, 31 MVA, 32 GVA, 33 V, 34 A, 35 kV, 36 kA, 37 C, 38 K,
39 l, 40 m3, 41 l/h, 42 m3/h, 43 m3xC, 44 ton, 45 ton/h, 46 h, 47 hh:mm:ss, 48 yy:mm:dd,
49 yyyy:mm:dd, 50 mm:dd, 51, 52 bar, 53 RTC, 54 ASCII, 55 m3x10, 56 tonx10, 57 GJx10, 58 min,
59 bitfield, 60 s, 61 ms, 62 days, 63 RTC-Q, 64 datetime, 65 imp/l, 66 l/imp, 67 Hz, 68 degree,
69 %, 70 USgal, 71 USgal/min, 79 date and time, 85 %RH, 86 %O2, 87 m/s, 88 kJ/kg, 89 pH, 90 g/kg
"""
UNITS = {int(number): name for number, name in re.findall("([0-9]+) ?([^,\n]*)", UNIT_TABLE)}

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
  234  INA-LITERIMP  l/imp       Litres per pulse, input A
  235  INB-LITERIMP  l/imp       Litres per pulse, input B
  239  V1-HIGHRES    m3/l        Volume, high resolution (test)
  243  -             m3          Reverse flow volume
  259  -             m3/h        Nominal flow Qp
  266  E1-HIGHRES    Wh          Heat energy, high resolution (wraps)
  267  E3-HIGHRES    Wh          Cooling energy, high resolution
  292  -             C           Water temperature
  299  -             C           Ambient temperature
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
    import warnings

    warnings.simplefilter("ignore")  # cron mails whatever a library has to say
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # The interpreter's own way out would take a tenth of the whole run.
    os._exit(main())
