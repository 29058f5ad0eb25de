"""What a call means, what is wrong with a wrong one, --help, and Ctrl-C while Python imports.

situation                                      test
---------------------------------------------- -----------------------------------------------
PORT or REGISTER is missing, or out of order   test_missing_arguments, test_a_missing_port,
                                               test_port_comes_first
a register, IDX or number that makes no sense  test_wrong_registers, test_wrong_idx,
                                               test_wrong_numbers, test_wrong_urls
the limits of numbers                          test_the_limits_are_allowed,
                                               test_the_limits_are_named
an option that does nothing in this mode       test_options_that_do_nothing
an option that does not exist                  test_unknown_options, test_long_dashes
options anywhere between the arguments         test_right_calls, test_a_push_with_options_anywhere
--help, --version                              test_help_..., test_version
the system has no thread for the program       test_without_threads
Ctrl-C while Python imports, or while reading  test_ctrl_c_during_an_import_is_silent, ...
"""

from __future__ import annotations

import os
import pathlib
import pty
import signal
import subprocess
import time

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from program import LIMIT, Result, command, environment, finish, run, start
from serial_server import SerialServer

import kamstrup_read as kr

PORT = "/dev/null"  # exists, and is no serial port: opening it ends with exit code 3
PUSH = [PORT, "60", "12"]


@pytest.fixture
def call(capsys):
    """Call main() in this process."""

    def call_main(*arguments: str) -> Result:
        code = kr.main(list(arguments))
        out, err = capsys.readouterr()
        return Result(code, out, err, 0.0)

    return call_main


def words_of(value: object) -> str | None:
    """A call as the id of its test."""
    return " ".join(value) if isinstance(value, list) else None


# PORT, REGISTER and IDX


@pytest.mark.parametrize(
    "arguments", [[], [PORT], ["60"], ["all"], ["all", "--json"]], ids=words_of
)
def test_missing_arguments(call, arguments):
    call(*arguments).failed(2, "PORT and REGISTER are needed, such as /dev/ttyUSB0 60")


@pytest.mark.parametrize(
    "arguments",
    [
        ["60", "12"],
        ["60", "84"],
        ["60", "12", "--multiply", "1000"],
        ["--multiply", "1000", "60", "12"],
        ["60", "12", "--dry-run"],
        ["0x3c", "12"],
    ],
    ids=words_of,
)
def test_a_missing_port(call, arguments):
    call(*arguments).failed(2, "PORT is missing", "such as /dev/ttyUSB0 ")


@pytest.mark.parametrize("symbol", ["E1", "va", "Meter No 1"])
def test_a_missing_port_before_a_symbol(call, symbol):
    for arguments in ([symbol, "12"], [symbol, "12", "--multiply", "1000"]):
        call(*arguments).failed(2, "PORT is missing", f"such as /dev/ttyUSB0 {symbol}")


def test_a_port_may_be_a_number_if_it_exists(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("60").touch()
    call("60", "12").failed(3, "60 is not a serial port")


@pytest.mark.parametrize("register", ["60", "all", "E1"])
def test_port_comes_first(call, register):
    call(register, PORT).failed(2, "PORT comes first, then REGISTER")


@pytest.mark.parametrize(
    "register",
    [
        "65536",
        "0x10000",
        "0x000003c",
        "0000060",
        "999999999999",
        "9" * 5000,
        "0x",
        "0xg",
        "-1",
        "",
        "1.5",
        "6_0",
        "\u0666\u0660",  # 60 in Arabic digits
        "E99",
    ],
    ids=lambda register: ascii(register)[:20],
)
def test_wrong_registers(call, register):
    call(PORT, register).failed(2, f"no register {register!r}", "--list-registers shows all")


def test_words_of_a_description_are_suggestions_and_no_register(call):
    call(PORT, "heat").failed(2, "did you mean E1 (Heat energy)")


@pytest.mark.parametrize("idx", ["0", "-3", "x", "1.0", "", "1000000000"])
def test_wrong_idx(call, idx):
    call(PORT, "60", idx).failed(2, f"IDX: {idx!r} is not a whole number from 1 to 999999999")


@pytest.mark.parametrize(
    "arguments",
    [[*PUSH, "13"], [PORT, "60", "84", "86", "87"], [*PUSH, "--multiply", "1000", "13"]],
    ids=words_of,
)
def test_too_many_arguments(call, arguments):
    call(*arguments).failed(2, "too many arguments")


# Values of options


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--baudrate", ["0", "299", "115201", "1200.5", "x", ""]),
        ("--wait", ["-1", "-0.1", "86401", "nan", "inf", "1e3", "1,5", "", "x"]),
        ("--timeout", ["0", "0.09", "3601", "x"]),
        ("--multiply", ["nan", "inf", "1,5", "1e3", "1000000001", "1" * 21, "", "abc", "\u0661"]),
        ("--decimals", ["-1", "21", "1.5", "x"]),
    ],
)
def test_wrong_numbers(call, option, values):
    for value in values:
        call(*PUSH, f"{option}={value}").failed(2, f"argument {option}: {value!r} is not a", "from")


def test_a_value_that_is_left_out(call):
    call(PORT, "60", "--wait").failed(2, "argument --wait: expected one argument")
    call(PORT, "60", "--wait", "--json").failed(2, "argument --wait: expected one argument")


LIMITS = [
    ("--baudrate", "300", "115200"),
    ("--wait", "0", "86400"),
    ("--timeout", "0.1", "3600"),
    ("--multiply", "-1000000000", "1000000000"),
    ("--decimals", "0", "20"),
]


@pytest.mark.parametrize(("option", "low", "high"), LIMITS)
def test_the_limits_are_allowed(option, low, high):
    for limit in (low, high):
        args = kr.parse([*PUSH, f"{option}={limit}"])
        assert float(getattr(args, option[2:])) == float(limit)


@pytest.mark.parametrize(("option", "low", "high"), LIMITS)
def test_the_limits_are_named(call, option, low, high):
    call(*PUSH, f"{option}=x").failed(2, f"from {low} to {high}")


def test_the_limits_of_idx_are_allowed():
    assert kr.parse([PORT, "60", "1"]).idx == 1
    assert kr.parse([PORT, "60", "999999999"]).idx == 999999999


def test_a_name_without_quotes(call):
    call(PORT, "60", "--create", "Hot", "water").failed(2, "IDX: 'water' is not", "needs quotes")


def test_a_comma_in_a_number(call):
    call(*PUSH, "--multiply", "1000,5").failed(2, "'1000,5' is not a number", "without a comma")


def test_a_factor_of_0(call):
    call(*PUSH, "--multiply", "0").failed(2, "--multiply 0 would always push 0")
    call(*PUSH, "--multiply", "-0.0").failed(2, "--multiply 0 would always push 0")


def test_an_unknown_protocol(call):
    call(PORT, "60", "--protocol", "mbus").failed(2, "--protocol", "'mbus'", "kmp", "mc66")


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "ftp://127.0.0.1",
        "http://",
        "http://:8080",
        "http://host:x",
        "http://host:0",
        "http://host:99999",
        "http://host/?x=1",
        "http://host/#x",
        "http://ho st",
        "http://[::1",
        "http://[v1.x]:9",
        "http://a..b",
        "http://*:9",
        "http://host\\x",
        "http://host/%2e",
        "http://host/<x>",
        "http://h\u00f6st",
    ],
)
def test_wrong_urls(call, url):
    call(*PUSH, "--url", url).failed(2, f"must look like {kr.DEFAULT_URL}")


@pytest.mark.parametrize(
    "url",
    [
        "http://host.:80",
        "http://host:",
        "http://my_pi",
        "https://my-pi.local/domoticz",
        "http://[::1]:8080",
        "http://[::ffff:1.2.3.4]",
        "https://host/~a+b,c:d;e=f!$&'()*/x",
    ],
)
def test_right_urls(url):
    args = kr.parse([*PUSH, "--url", url])
    assert kr.domoticz_from(args, print).url == url


def test_a_login_in_the_url(call):
    line = call(*PUSH, "--url", "http://meter:hush@host").failed(
        2, "a login does not go into the URL"
    )
    assert "hush" not in line


def test_an_empty_url_is_none_given():
    args = kr.parse([*PUSH, "--url", ""])
    assert kr.domoticz_from(args, print).url == kr.DEFAULT_URL


# Options


ONLY_JSON = "--list-registers takes no PORT, and of the options only --json"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([PORT, "60", "--multiply", "1000"], "--multiply does nothing without IDX"),
        ([PORT, "60", "--decimals", "1"], "--decimals does nothing without IDX"),
        ([PORT, "60", "--decimals", "0"], "--decimals does nothing without IDX"),
        ([PORT, "60", "--url", "http://127.0.0.1"], "--url does nothing without IDX or --create"),
        ([PORT, "60", "--insecure"], "--insecure does nothing without IDX or --create"),
        ([PORT, "60", "--dry-run"], "--dry-run does nothing without IDX"),
        ([*PUSH, "--insecure"], "--insecure does nothing without https"),
        ([*PUSH, "--json"], "--json does nothing with IDX"),
        ([*PUSH, "--json", "--dry-run"], "--json does nothing with IDX"),
        (
            [PORT, "60", "--protocol", "mc66", "--baudrate", "300"],
            "--baudrate does nothing with mc66",
        ),
        ([PORT, "all", "12"], "all can only be printed"),
        ([PORT, "all", "--create", "Heating"], "all can only be printed"),
        (
            [PORT, "all", "--protocol", "mc66"],
            "all does not work with mc66: request one of 60 68 74 80",
        ),
        (["--list-registers", PORT], ONLY_JSON),
        (["--list-registers", "--wait", "5"], ONLY_JSON),
        (["--list-registers", "--wait", "0"], ONLY_JSON),
    ],
    ids=words_of,
)
def test_options_that_do_nothing(call, arguments, words):
    call(*arguments).failed(2, words)


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ([PORT, "60", "--prot", "kmp"], "--prot"),
        ([PORT, "--prot", "kmp", "60"], "--prot"),
        (["--prot", "kmp", PORT, "60"], "--prot"),
        ([*PUSH, "--mult", "1000"], "--mult"),
        ([PORT, "60", "--json=yes"], "--json"),
        ([PORT, "60", "-json"], "-json"),
        ([PORT, "60", "-x"], "-x"),
        ([PORT, "60", "--password", "hush"], "--password"),
        ([PORT, "60", "--password=hush"], "--password"),
        ([PORT, "60", "12", "--user", "hush", "--password", "hush"], "--user"),
    ],
    ids=words_of,
)
def test_unknown_options(call, arguments, option):
    """By the name of the option, on every Python; what follows it may be a secret."""
    line = call(*arguments).failed(2, option)
    assert line.startswith((f"{option} is not an option", f"argument {option}: "))
    assert "hush" not in line


@pytest.mark.parametrize("dash", ["\u2014", "\u2013", "\u2212", "\u2010"])
@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ([PORT, "60", "-json"], "json"),
        ([PORT, "-json", "60"], "json"),
        (["-json", PORT, "60"], "json"),
        ([PORT, "60", "-wait=5"], "wait"),
        ([PORT, "60", "12", "-multiply", "1000"], "multiply"),
        ([PORT, "60", "-multiply", "1000", "12"], "multiply"),
        (["-list-registers"], "list-registers"),
    ],
    ids=words_of,
)
def test_long_dashes(call, arguments, option, dash):
    """What word processors and web pages make of two hyphens."""
    pasted = [word.replace("-", dash, 1) if word[0] == "-" else word for word in arguments]
    call(*pasted).failed(2, f"{dash}{option} begins with a long dash: type two hyphens")


def test_a_wrong_call_in_a_process_of_its_own():
    run(PORT, "60", "--prot", "kmp").failed(2, "--prot is not an option")
    run("60", "12", "--multiply", 1000).failed(2, "PORT is missing")
    run(PORT, 60, "12", "\u2014multiply", 1000).failed(2, "\u2014multiply", "long dash")


# Right calls


@pytest.mark.parametrize(
    "arguments",
    [
        "PORT 60",
        "PORT 060",
        "PORT 0x3c",
        "PORT 0X3C",
        "PORT E1",
        "PORT e1",
        "-v PORT 60",
        "PORT -v 60",
        "PORT 60 -vv",
        "PORT --wait 5 E1 --timeout 1.5",
        "--protocol kmp PORT 60",
        "--baudrate=1200 PORT 60",
        "-- PORT 60",
        "PORT 60 --wait +5.",
    ],
)
def test_right_calls(call, arguments):
    with sim.KmpMeter() as meter:
        result = call(*arguments.replace("PORT", meter.port).split())
    assert (result.code, result.out) == (0, "16.235 GJ\n")


@pytest.mark.parametrize(
    "arguments",
    [
        "PORT 60 12 --multiply 1000 --url URL",
        "--multiply 1000 PORT --url URL 60 12",
        "PORT --multiply=1000 60 --url=URL 12",
        "--url URL PORT 60 --multiply 1000 -- 12",
        "PORT E1 000012 --multiply +1000.0 --decimals 0 --url URL/",
    ],
)
def test_a_push_with_options_anywhere(call, arguments):
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        call(*arguments.replace("PORT", meter.port).replace("URL", domoticz.url).split()).printed()
    assert domoticz.pushes == [("12", "16235")]


def test_a_negative_factor(call):
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        call(meter.port, "60", "12", "--multiply", "-1", "--url", domoticz.url).printed()
    assert domoticz.pushes == [("12", "-16.235")]


# --help and --version

OPTIONS = (
    "--help",
    "--version",
    "--list-registers",
    "--json",
    "--verbose",
    "--protocol {kmp,mc66}",
    "--baudrate N",
    "--wait SECONDS",
    "--timeout SECONDS",
    "--create NAME",
    "--multiply FACTOR",
    "--decimals N",
    "--url URL",
    "--insecure",
    "--dry-run",
)


def test_help_has_every_option_exit_code_and_variable():
    text = run("--help").out
    for option in OPTIONS:
        assert option in text
    for name in ("PORT REGISTER [IDX]", "DOMOTICZ_USER", "DOMOTICZ_PASSWORD", "DOMOTICZ_URL"):
        assert name in text
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 130):
        assert f"\n  {code}  " in text


def test_help_fits_80_columns():
    assert max(map(len, run("--help").out.splitlines())) <= 80


@pytest.mark.parametrize(
    "variables",
    [{"COLUMNS": "40"}, {"COLUMNS": "200"}, {"FORCE_COLOR": "1"}, {"PYTHON_COLORS": "1"}],
    ids=str,
)
def test_help_is_the_same_text_whatever_the_environment_says(variables):
    plain = run("-h")
    plain.printed(*plain.out.splitlines())
    assert run("--help", env=variables)[:3] == plain[:3]


def test_help_is_the_same_text_on_a_terminal():
    terminal, other_end = pty.openpty()
    job = subprocess.Popen(
        command("--help"),
        env=environment(TERM="xterm-256color", FORCE_COLOR="1", COLUMNS="200"),
        stdout=other_end,
    )
    os.close(other_end)
    shown = b""
    try:
        while True:
            shown += os.read(terminal, 4096)
    except OSError:  # the program has ended
        pass
    os.close(terminal)
    assert job.wait(LIMIT) == 0
    assert shown.decode().replace("\r\n", "\n") == run("--help").out


@pytest.mark.parametrize(
    "arguments",
    [["--help"], [PORT, "60", "--help"], ["-h", "--wait", "5", "--bogus"]],
    ids=words_of,
)
def test_help_with_whatever_else(call, arguments):
    result = call(*arguments)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("usage: kamstrup_read.py [options] PORT REGISTER [IDX]\n")


def test_version(call):
    run("--version").printed(f"kamstrup_read {kr.__version__}")
    call(PORT, "60", "--version").printed(f"kamstrup_read {kr.__version__}")


# A system that has no thread for the program

NO_THREADS = """
import _thread

def refuse(*_, **__):
    raise RuntimeError("can't start new thread")

_thread.start_new_thread = _thread.start_new = _thread.start_joinable_thread = refuse
"""


@pytest.mark.parametrize("options", [[], ["--dry-run"]], ids=["push", "dry run"])
def test_without_threads(options, tmp_path):
    """A push goes on: it is only slower."""
    (tmp_path / "sitecustomize.py").write_text(NO_THREADS)
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        result = run(
            *(meter.port, 60, 12, "--multiply", 1000, "--url", domoticz.url, *options),
            env={"PYTHONPATH": str(tmp_path)},
        )
    assert (result.code, result.err) == (0, "")
    assert domoticz.pushes == ([] if options else [("12", "16235")])


def test_without_threads_a_network_port_is_read(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NO_THREADS)
    with sim.KmpMeter() as meter, SerialServer(meter.port) as server:
        run(server.url, 60, env={"PYTHONPATH": str(tmp_path)}).printed("16.235 GJ")


def test_without_threads_rfc2217_is_impossible(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NO_THREADS)
    with sim.KmpMeter() as meter, SerialServer(meter.port, "rfc2217") as server:
        result = run(server.url, 60, "--wait", 0, env={"PYTHONPATH": str(tmp_path)})
    result.failed(3, server.url, "can't start new thread")


# Ctrl-C

# A module whose import takes as long as the test wants. Then the real one is imported.
SLOW_MODULE = """
import os
import sys
import time

folder = os.path.dirname(__file__)
open(os.path.join(folder, "begun"), "w").close()
while not os.path.exists(os.path.join(folder, "go on")):
    time.sleep(0.01)
sys.path.remove(folder)
del sys.modules[__name__]
__import__(__name__)
"""


def start_with_slow_import(
    module: str, folder: pathlib.Path, sigint: signal.Handlers, *arguments: object
) -> subprocess.Popen[str]:
    """The program, once it imports this module."""
    (folder / f"{module}.py").write_text(SLOW_MODULE)
    job = start(*arguments, env={"PYTHONPATH": str(folder)}, sigint=sigint)
    wait_for((folder / "begun").exists)
    return job


def wait_for(condition) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("module", ["argparse", "decimal", "serial", "requests"])
def test_ctrl_c_during_an_import_is_silent(module, tmp_path):
    with sim.KmpMeter() as meter:
        job = start_with_slow_import(module, tmp_path, signal.SIG_DFL, meter.port, 60, 12)
        job.send_signal(signal.SIGINT)
        result = finish(job)
    assert (result.out, result.err) == ("", "")
    assert result.code in (-signal.SIGINT, 130)


@pytest.mark.parametrize("module", ["decimal", "serial"])
def test_sigint_stays_ignored(module, tmp_path):
    """As in a shell script's background job."""
    with sim.KmpMeter() as meter:
        job = start_with_slow_import(module, tmp_path, signal.SIG_IGN, meter.port, 60)
        job.send_signal(signal.SIGINT)
        (tmp_path / "go on").touch()
        finish(job).printed("16.235 GJ")


def test_ctrl_c_while_the_meter_is_silent():
    with sim.KmpMeter(always=sim.silence) as meter:
        job = start(meter.port, 60, "--timeout", LIMIT)
        wait_for(lambda: meter.requests)
        job.send_signal(signal.SIGINT)
        result = finish(job)
    assert result[:3] == (130, "", "")
