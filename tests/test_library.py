"""The module in other people's code.

situation                                        test
------------------------------------------------ ---------------------------------------------
read_register, Meter                             test_read_register_..., test_a_meter_...
arguments that make no sense                     test_what_makes_no_sense_...
the module's errors, main()                      test_errors_..., test_main_...
importing and calling it                         test_importing_and_..., test_import_is_cheap_...
a push; Python's development mode                test_a_push_...
"""

from __future__ import annotations

import os
import pathlib
import sys
from decimal import Decimal

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from program import python

import kamstrup_read as kr

HEAT = kr.Reading(60, Decimal("16.235"), "GJ")


def handles_of(port: str) -> int:
    """How often this process has a port open; the simulated meter does so itself."""
    handles = pathlib.Path("/proc/self/fd").iterdir()
    return sum(os.path.realpath(handle) == port for handle in handles)


def test_read_register_returns_a_reading_and_closes_the_port():
    with sim.KmpMeter() as meter:
        handles = handles_of(meter.port)
        reading = kr.read_register(meter.port, "e1")
        assert (reading, str(reading)) == (HEAT, "16.235 GJ")
        assert (type(reading), type(reading.value)) == (kr.Reading, Decimal)
        with pytest.raises(kr.UnknownRegisterError):
            kr.read_register(meter.port, 61, wait=0)
        assert handles_of(meter.port) == handles


def test_read_register_takes_what_a_meter_takes():
    with sim.Mc66Meter() as meter:
        reading = kr.read_register(meter.port, 60, protocol="mc66", wait=60, timeout=5)
    assert reading == kr.Reading(60, Decimal("456.631"), "GJ")


def test_a_meter_can_be_read_again_and_holds_the_port_as_long_as_its_with_statement():
    with sim.KmpMeter() as simulated:
        handles = handles_of(simulated.port)
        with kr.Meter(simulated.port) as meter:
            assert (meter.read(60), meter.read("VA").unit) == (HEAT, "m3")
            assert next(meter.read_all()) == HEAT  # and is left half way
            assert [reading.register for reading in meter.read_all()] == sorted(sim.example())
            assert handles_of(simulated.port) == handles + 1
        assert handles_of(simulated.port) == handles


@pytest.mark.parametrize(
    "options",
    [
        *({"baudrate": 0}, {"baudrate": -1}, {"wait": -1}, {"timeout": 0}, {"timeout": -1}),
        *({name: float(value)} for name in ("wait", "timeout") for value in ("nan", "inf")),
        *({"protocol": "mc66", "baudrate": 1200}, {"register": "E99"}, {"register": 65536}),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_a_usage_error_before_the_port_is_opened(options):
    with pytest.raises(kr.UsageError):
        kr.read_register("no such port", **{"register": 60, **options})


ERRORS = {  # exit code, and what it can be caught as, besides KamstrupError
    kr.UsageError: (2, []),
    kr.PortError: (3, []),
    kr.PortBusyError: (3, [kr.PortError]),
    kr.ConnectionLostError: (3, [kr.MeterError]),
    kr.NoResponseError: (4, [kr.MeterError]),
    kr.DamagedResponseError: (5, [kr.MeterError]),
    kr.MeterError: (5, []),
    kr.UnknownRegisterError: (6, [kr.MeterError]),
    kr.DomoticzError: (7, []),
}


def test_errors_have_their_exit_codes_and_can_be_caught_by_their_kind():
    public = {getattr(kr, name) for name in kr.__all__ if name.endswith("Error")}
    assert public == {kr.KamstrupError, *ERRORS}
    for error, (code, kinds) in ERRORS.items():
        assert error.exit_code == code
        caught_as = {kind for kind in public if issubclass(error, kind)}
        assert caught_as == {error, kr.KamstrupError, *kinds}


def test_main_takes_the_arguments_of_the_process_and_returns_the_exit_code(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["kamstrup_read.py", "no such port", "E99"])
    assert kr.main() == 2


UNCHANGED = """
import contextlib, decimal, io, os, signal, sys, threading, warnings
import requests, serial  # which change some of this themselves

def state():
    return {
        "warnings": list(warnings.filters),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook, sys.displayhook),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "streams": [(stream, stream.errors) for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "environment": dict(os.environ),
        "decimals": str(decimal.getcontext()).partition(", flags")[0],
        "threads": threading.enumerate(),
    }

before = state()
import kamstrup_read
port, url = sys.argv[1:]
for arguments in (None, [port, "60", "12", "--url", url], [port, "all", "--json"], ["--bogus"]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = arguments and kamstrup_read.main(arguments)
    print(code, [name for name, value in state().items() if value != before[name]])
"""


def test_importing_and_calling_changes_nothing_in_the_process():
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        result = python(UNCHANGED, meter.port, domoticz.url)
    result.printed(*(f"{code} []" for code in (None, 0, 0, 2)))


def test_import_is_cheap_and_needs_no_libraries():
    code = """
import sys
sys.modules.update(dict.fromkeys(("serial", "requests", "typing")))
import kamstrup_read
print(kamstrup_read.encode_request([kamstrup_read.register_id("E1")]).hex())
"""
    python(code).printed(kr.encode_request([60]).hex())


def test_a_push_in_development_mode_leaves_no_file_open_and_uses_nothing_deprecated():
    code = """
import sys
import kamstrup_read as kr
reading = kr.read_register(sys.argv[1], 60)
domoticz = kr.Domoticz(sys.argv[2])
domoticz.push(12, kr.svalue_for(reading, domoticz.look(12)))
"""
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        python(code, meter.port, domoticz.url, PYTHONDEVMODE="1").printed()
    assert domoticz.pushes == [("12", "16235")]
