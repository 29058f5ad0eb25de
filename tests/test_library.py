"""The module in other people's code, and the tools of this folder in short.

situation                                        test
------------------------------------------------ ---------------------------------------------
read_register, Meter                             test_read_register_..., test_a_meter_...
Meter.read_all                                   test_read_all_...
arguments that make no sense                     test_wrong_...
the module's errors                              test_errors_..., test_main_returns_...
names, docstrings and type hints                 test_everything_public_..., test_type_hints_...
importing and calling it changes nothing         test_the_importing_process_...,
                                                 test_the_handler_of_..., test_main_in_a_thread
import brings only what every use needs          test_import_...
without pyserial and requests                    test_without_libraries_...
thousands of readings with faults at random      test_soak
the demo, the benchmark                          test_demo, test_the_benchmark_...
"""

from __future__ import annotations

import contextlib
import inspect
import os
import pathlib
import signal
import subprocess
import sys
import threading
import typing
from decimal import Decimal

import benchmark
import demo
import fake_domoticz as fake
import pytest
import simulated_meter as sim
import soak
from program import LIMIT, command, environment, python, run

import kamstrup_read as kr

HEAT = kr.Reading(60, Decimal("16.235"), "GJ")


# read_register and Meter


@pytest.mark.parametrize("register", [60, "60", "060", "0x3C", "E1", "e1"])
def test_read_register_by_number_or_symbol(register):
    with sim.KmpMeter() as meter:
        reading = kr.read_register(meter.port, register)
    assert reading == HEAT
    assert (str(reading), reading.digits) == ("16.235 GJ", "16.235")


def test_read_register_takes_a_path():
    with sim.KmpMeter() as meter:
        assert kr.read_register(pathlib.Path(meter.port), 60) == HEAT


def test_read_register_takes_what_a_meter_takes():
    with sim.KmpMeter(baudrate=9600) as meter:
        reading = kr.read_register(meter.port, 60, baudrate=9600, wait=60.0, timeout=5)
    assert reading == HEAT


def test_read_register_of_an_older_meter():
    with sim.Mc66Meter() as meter:
        reading = kr.read_register(meter.port, "E1", protocol="mc66", wait=60)
    assert reading == kr.Reading(60, Decimal("456.631"), "GJ")


@pytest.mark.parametrize("register", [60, 61], ids=["read", "failed"])
def test_read_register_closes_the_port(register):
    with sim.KmpMeter() as meter:
        before = os.listdir("/proc/self/fd")
        with contextlib.suppress(kr.UnknownRegisterError):
            kr.read_register(meter.port, register)
        assert os.listdir("/proc/self/fd") == before


def test_a_meter_can_be_read_again_and_again():
    with sim.KmpMeter() as simulated:
        meter = kr.Meter(simulated.port)
        with meter:
            assert meter.read(60) == HEAT
            with pytest.raises(kr.UnknownRegisterError):
                meter.read(61)
            assert meter.read("E1") == HEAT
        with meter:  # opens the port anew
            assert meter.read(60) == HEAT


def test_a_meter_holds_the_port_as_long_as_its_with_statement():
    with sim.KmpMeter() as simulated:
        meter = kr.Meter(simulated.port, wait=0)
        with meter:
            meter.read(60)
            with pytest.raises(kr.PortBusyError):
                kr.read_register(simulated.port, 60, wait=0)
        assert kr.read_register(simulated.port, 60) == HEAT


def test_a_meter_has_the_defaults_of_its_protocol():
    for name, protocol in kr.PROTOCOLS.items():
        meter = kr.Meter("/dev/null", name)
        assert (meter.wait, meter.timeout) == (protocol.wait, protocol.timeout)
    meter = kr.Meter("/dev/null", wait=0, timeout=0.5)
    assert (meter.wait, meter.timeout) == (0, 0.5)


def test_a_meter_logs_each_frame_and_failure():
    log: list[str] = []
    progress: list[str] = []
    with sim.KmpMeter(faults=[sim.bad_crc]) as simulated:
        meter = kr.Meter(simulated.port, wait=60, log=log.append, progress=progress.append)
        with meter:
            assert meter.read(60) == HEAT
    sent, received, failure, *_ = log
    assert sent == "-> 80 3f 10 01 00 3c b2 5f 0d"
    assert received.startswith("<- 40 3f 10 00 3c 08 04 43 00 00 3f 6b")
    assert kr.DamagedResponseError.seen in failure
    assert log[3:] == [sent, "<- 40 3f 10 00 3c 08 04 43 00 00 3f 6b 15 59 0d"]
    assert [line.rpartition("; ")[0] for line in progress] == [failure]


def test_read_all_of_some_registers_in_one_request():
    with sim.KmpMeter() as simulated:
        with kr.Meter(simulated.port) as meter:
            readings = list(meter.read_all([60, 61, "VA", "0x56"]))
        assert simulated.requests == [[60, 61, 84, 86]]
    assert [str(reading) for reading in readings] == ["16.235 GJ", "147.307 m3", "67.25 C"]


def test_read_all_requests_a_register_that_is_named_twice_once():
    with sim.KmpMeter() as simulated:
        with kr.Meter(simulated.port) as meter:
            readings = list(meter.read_all(["E1", 60, "0x3c", 84]))
        assert simulated.requests == [[60, 84]]
    assert [str(reading) for reading in readings] == ["16.235 GJ", "147.307 m3"]


def test_read_all_of_every_known_register():
    with sim.KmpMeter() as simulated, kr.Meter(simulated.port) as meter:
        readings = {reading.register: reading for reading in meter.read_all()}
    assert list(readings) == sorted(simulated.registers)
    assert readings[60] == HEAT


def test_read_all_that_is_left_half_way():
    with sim.KmpMeter() as simulated, kr.Meter(simulated.port) as meter:
        for reading in meter.read_all():
            assert reading == HEAT
            break
        assert meter.read(84).unit == "m3"


def test_read_all_leaves_out_what_an_older_meter_lacks():
    with sim.Mc66Meter(energy="") as simulated, kr.Meter(simulated.port, "mc66") as meter:
        readings = list(meter.read_all([60, 68]))
    assert readings == [kr.Reading(68, Decimal("3447.381"), "m3")]


def test_read_all_goes_on_after_a_value_that_is_not_known():
    configuration = sim.MC66_CONFIGURATION.replace("0044119", "0044999")
    with sim.Mc66Meter(configuration=configuration) as simulated:
        readings = kr.Meter(simulated.port, "mc66").read_all([86, 74, 87])
        assert [next(readings).register, next(readings).register] == [86, 87]
        with pytest.raises(kr.MeterError, match=r"not read: 74; .* decimal point"):
            next(readings)


# Arguments that make no sense


@pytest.mark.parametrize(
    "register", [70000, -1, "E99", "", "1.5", 1.5, None, b"60", [60]], ids=repr
)
def test_wrong_registers(register):
    with pytest.raises(kr.UsageError, match="no register"):
        kr.read_register("/dev/null", register)
    with pytest.raises(kr.UsageError, match="no register"):
        list(kr.Meter("/dev/null").read_all([60, register]))


@pytest.mark.parametrize(
    "options",
    [
        {"baudrate": 0},
        {"baudrate": -1},
        {"wait": -1},
        {"wait": float("nan")},
        {"timeout": 0},
        {"timeout": float("nan")},
    ],
    ids=repr,
)
def test_numbers_that_make_no_sense(options):
    with pytest.raises(kr.UsageError, match="must be above 0"):
        kr.read_register("/dev/null", 60, **options)


def test_a_baudrate_for_a_protocol_that_has_its_own():
    with pytest.raises(kr.UsageError, match="mc66 has its own baudrates"):
        kr.Meter("/dev/null", "mc66", baudrate=1200)


def test_wrong_protocols():
    for protocol in ("mbus", "", "KMP"):
        with pytest.raises(
            kr.UsageError, match=f"no protocol '{protocol}': it is one of kmp, mc66"
        ):
            kr.read_register("/dev/null", 60, protocol)
        with pytest.raises(kr.UsageError, match="no protocol"):
            kr.Meter("/dev/null", protocol=protocol)


def test_wrong_ports():
    with pytest.raises(kr.PortError, match="/dev/null is not a serial port"):
        kr.read_register("/dev/null", 60)
    with pytest.raises(kr.PortError, match="/dev/ttyNONE does not exist"):
        kr.read_register("/dev/ttyNONE", "E1")


@pytest.mark.parametrize("registers", [[], [60] * 9], ids=["none", "nine"])
def test_wrong_requests(registers):
    with pytest.raises(ValueError, match="1 to 8 registers"):
        kr.encode_request(registers)


@pytest.mark.parametrize(
    ("idx", "svalue"), [(0, "1"), (-1, "1"), (12, ""), (12, "1e3"), (12, "nan"), (12, "1;2")]
)
def test_wrong_pushes(idx, svalue):
    """Domoticz would take any of them."""
    with fake.FakeDomoticz() as domoticz, pytest.raises(ValueError, match="svalue"):
        kr.Domoticz(domoticz.url).push(idx, svalue)
    assert domoticz.requests == []


def test_a_reading_is_pushed():
    with fake.FakeDomoticz() as domoticz:
        kr.Domoticz(domoticz.url).push(12, kr.svalue_of(HEAT.value, multiply=Decimal(1000)))
    assert domoticz.pushes == [("12", "16235")]


# Errors

ERRORS = [
    kind
    for kind in vars(kr).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__ == kr.__name__
]


def test_errors_are_all_of_one_kind():
    assert len(ERRORS) > 10
    for error in ERRORS:
        assert issubclass(error, kr.KamstrupError)
        assert error.__name__.endswith("Error")
        assert error.__doc__


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        (kr.PortBusyError, {kr.PortError}),
        (kr.UnknownRegisterError, {kr.MeterError}),
        (kr.NoResponseError, {kr.MeterError}),
        (kr.EchoOnlyError, {kr.MeterError, kr.NoResponseError}),
        (kr.DamagedResponseError, {kr.MeterError}),
        (kr.WrongResponseError, {kr.MeterError}),
        (kr.PortSharedError, {kr.MeterError}),
        (kr.ConnectionLostError, {kr.MeterError}),
        (kr.UsageError, set()),
        (kr.DomoticzError, set()),
        (kr.OutputError, set()),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_errors_can_be_caught_by_their_kind(error, kinds):
    public = {getattr(kr, name) for name in kr.__all__ if name.endswith("Error")}
    assert {kind for kind in public if issubclass(error, kind)} == {error, kr.KamstrupError, *kinds}


def test_an_error_is_a_sentence():
    with sim.KmpMeter(always=sim.silence) as meter, pytest.raises(kr.NoResponseError) as caught:
        kr.read_register(meter.port, 60, wait=0, timeout=0.1)
    assert str(caught.value).startswith("no response from the meter: ")
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 0),
        *((kind("x"), kind.exit_code) for kind in ERRORS),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_main_returns_the_exit_code(error, code, monkeypatch, capsys):
    def fail(_arguments):
        raise error

    monkeypatch.setattr(kr, "run", fail)
    assert kr.main([]) == code
    said = "kamstrup_read: x\n" if isinstance(error, kr.KamstrupError) else ""
    assert capsys.readouterr() == ("", said)


def test_main_takes_the_arguments_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kamstrup_read.py", "--version"])
    assert kr.main() == 0
    assert capsys.readouterr().out == f"kamstrup_read {kr.__version__}\n"


# Names and type hints


def public_functions() -> dict[str, typing.Callable[..., object]]:
    """The public functions, and the public methods of public classes, by name."""
    found = {}
    for name in kr.__all__:
        thing = getattr(kr, name)
        if inspect.isfunction(thing):
            found[name] = thing
        for method, function in inspect.getmembers(thing, inspect.isfunction):
            is_own = function.__module__ == kr.__name__
            if is_own and (method == "__init__" or not method.startswith("_")):
                found[f"{name}.{method}"] = function
    return found


def test_everything_public_exists_and_says_what_it_is():
    assert len(set(kr.__all__)) == len(kr.__all__)
    for name in kr.__all__:
        assert hasattr(kr, name), name
    for name, function in public_functions().items():
        assert function.__doc__ or name.endswith("__init__"), name


def test_type_hints_of_every_public_function_resolve():
    functions = public_functions()
    assert {"read_register", "main", "Meter.__init__", "Meter.read_all", "Domoticz.push"} < set(
        functions
    )
    for name, function in functions.items():
        hints = typing.get_type_hints(function)
        arguments = set(inspect.signature(function).parameters) - {"self"}
        assert set(hints) == {*arguments, "return"}, name


def test_type_hints_of_every_public_class_resolve():
    for name in kr.__all__:
        if inspect.isclass(getattr(kr, name)):
            typing.get_type_hints(getattr(kr, name))
    assert set(typing.get_type_hints(kr.Reading)) == {"register", "value", "unit"}
    assert set(typing.get_type_hints(kr.Register)) == {"id", "symbol", "unit", "description"}


# Importing

UNCHANGED = """
import argparse, contextlib, decimal, gc, io, locale, os, signal, socket, sys, threading, warnings
import requests, serial  # which change some of this themselves

def state():
    streams = (sys.stdin, sys.stdout, sys.stderr)
    signals = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    return {
        "warnings": list(warnings.filters),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook, sys.displayhook),
        "signals": [signal.getsignal(number) for number in sorted(signals)],
        "garbage collector": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "path": list(sys.path),
        "arguments": list(sys.argv),
        "streams": [(stream, stream.errors, stream.encoding) for stream in streams],
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "locale": locale.setlocale(locale.LC_ALL),
        "decimals": str(decimal.getcontext()),
        "timeout": socket.getdefaulttimeout(),
        "redirects": requests.Session.get_redirect_target,
        "argparse": argparse._,
        "threads": threading.enumerate(),
    }

def check(when):
    for name, value in state().items():
        if value != before[name]:
            print(f"{when} has changed: {name}")

before = state()
import kamstrup_read
check("importing")
port, url = sys.argv[1:]
for arguments in (
    [port, "60"],
    [port, "60", "12", "--url", url],
    [port, "60", "12", "--url", url, "--dry-run"],
    [port, "all", "--json"],
    ["rfc2217://127.0.0.1:1", "60", "--wait", "0"],
    ["--list-registers"],
    ["--help"],
    ["--bogus"],
):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = kamstrup_read.main(arguments)
    print(code)
    check(arguments)
"""


def test_the_importing_process_is_not_changed():
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        result = python(UNCHANGED, meter.port, domoticz.url)
    result.printed("0", "0", "0", "0", "3", "0", "0", "2")
    assert domoticz.pushes == [("12", "16.235")]


INTERRUPTED = """
import os, signal, sys, time

def report(*_):
    print("handled")

signal.signal(signal.SIGINT, HANDLER)
import kamstrup_read
assert signal.getsignal(signal.SIGINT) is HANDLER
kamstrup_read.main(["--version"])
os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize(
    ("handler", "printed"),
    [("report", ["handled"]), ("signal.SIG_IGN", [])],
    ids=["own handler", "ignored"],
)
def test_the_handler_of_the_importing_process_is_kept(handler, printed):
    result = python(INTERRUPTED.replace("HANDLER", handler))
    result.printed(f"kamstrup_read {kr.__version__}", *printed)


def test_the_default_of_the_system_is_kept():
    result = python(INTERRUPTED.replace("HANDLER", "signal.SIG_DFL"))
    assert result.code == -signal.SIGINT
    assert result.err == ""


def test_main_in_a_thread(capsys):
    """Only the main thread could set handlers of signals."""
    codes = []
    with sim.KmpMeter() as meter:
        thread = threading.Thread(target=lambda: codes.append(kr.main([meter.port, "60"])))
        thread.start()
        thread.join(LIMIT)
    assert codes == [0]
    assert capsys.readouterr() == ("16.235 GJ\n", "")


def test_import_brings_only_what_every_use_needs():
    code = """
import sys
import __future__, argparse, binascii, collections.abc, decimal, errno, functools, io
import os, re, struct, time
before = set(sys.modules)
import kamstrup_read
print(sorted(set(sys.modules) - before))
"""
    python(code).printed("['kamstrup_read']")


def test_import_does_not_need_typing():
    code = """
import sys
sys.modules["typing"] = None
import kamstrup_read
print(kamstrup_read.register_id("E1"))
"""
    python(code).printed("60")


@pytest.mark.parametrize("broken", ["raise ImportError('x')", "raise AttributeError('x')", "def"])
def test_without_libraries_what_needs_none_works(broken, tmp_path):
    for module in ("serial", "requests"):
        (tmp_path / f"{module}.py").write_text(broken)
    path = str(tmp_path)
    code = """
import kamstrup_read as kr
frame = kr.encode_request([60])
print(frame.hex(" "))
try:
    kr.read_register("/dev/null", 60)
except kr.PortError as error:
    print("serial.py" in str(error))
"""
    python(code, PYTHONPATH=path).printed("80 3f 10 01 00 3c b2 5f 0d", "True")
    run("--version", env={"PYTHONPATH": path}).printed(f"kamstrup_read {kr.__version__}")
    run("--help", env={"PYTHONPATH": path}).printed(*run("--help").out.splitlines())
    run("/dev/null", "E99", env={"PYTHONPATH": path}).failed(2, "no register 'E99'")


def test_no_warnings_and_no_open_files():
    """Development mode reports what is deprecated, and files that nobody has closed."""
    code = """
import sys
import kamstrup_read as kr
print(kr.read_register(sys.argv[1], 60))
kr.Domoticz(sys.argv[2]).push(12, "16.235")
"""
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        result = python(code, meter.port, domoticz.url, PYTHONDEVMODE="1")
    result.printed("16.235 GJ")
    assert domoticz.pushes == [("12", "16.235")]


# The tools of this folder


@pytest.mark.parametrize("seed", [3, 4])
def test_soak(seed):
    """A part of the rounds that `python tests/soak.py` has."""
    done = soak.run(rounds=75, seed=seed)
    assert done.wrong == []
    assert done.codes[0] > 20
    assert len(done.codes) >= 4


def test_demo():
    done = subprocess.run(
        [sys.executable, demo.__file__],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == "All went as it should."
    assert (done.returncode, done.stderr) == (0, "")
    rows_of_80_columns = sum(len(line) // 80 + 1 for line in lines)
    assert rows_of_80_columns < 70  # a screen and a half
    assert [line.split(" ", 3)[3] for line in lines if line.startswith("$ ")] == [
        "60 --create Heating",
        "60",
        "E1 --verbose",
        "all",
        "60 12 --multiply 1000",
        "VA 11 --multiply 1000",
        "60 11 --multiply 1000 --dry-run",
        "60 --wait 3",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "expected", "surprises"),
    [
        (("60",), 0, "16.235 GJ", 0),
        (("60",), 0, "16.236 GJ", 1),
        (("60",), 4, "16.235 GJ", 1),
        (("61",), 6, "no register 61", 0),
        (("61",), 0, "no register 61", 1),
    ],
)
def test_the_demo_notices_what_does_not_go_as_it_should(
    arguments, code, expected, surprises, capsys
):
    with sim.KmpMeter() as meter:
        shown = demo.Demo(meter.port, "http://127.0.0.1:9")
        shown.show(*arguments, code=code, expected=expected)
    assert len(shown.surprises) == surprises
    out = capsys.readouterr().out
    assert out.startswith(f"$ kamstrup_read.py /dev/ttyUSB0 {arguments[0]}\n")


def test_the_benchmark_finds_what_the_program_imports():
    with sim.KmpMeter() as meter:
        modules = benchmark.imports_of(command(meter.port, 60)[1:])
    assert {"argparse", "decimal", "serial"} <= set(modules)
    assert {"requests", "json", "threading"} & set(modules) == set()


def test_an_aim_that_is_missed():
    assert str(benchmark.Figure("all / wire", 1.154, 1.15)).endswith("1.15   aim 1.15  met")
    assert str(benchmark.Figure("all / wire", 1.156, 1.15)).endswith("1.16   aim 1.15  MISSED")
