"""What a call means, what is wrong with a wrong one, --help, --version, and Ctrl-C.

situation                                        test
------------------------------------------------ ---------------------------------------------
wrong calls                                      test_a_wrong_call_...
a secret after an unknown option                 test_what_follows_an_unknown_option_...
a register that is no number, for a sensor       test_a_sensor_can_not_show_a_date
options anywhere between the arguments           test_right_calls
messages name the register as it was typed       test_messages_...
--help, --version                                test_help_..., test_version
Ctrl-C                                           test_ctrl_c_...
"""

from __future__ import annotations

import signal

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from fake_serial import connect
from program import LIMIT, Result, finish, run, start, wait_until

import kamstrup_read as kr

PORT = "no such port"  # opening it would end with exit code 3
PUSH = [PORT, "60", "12"]
MC66 = ["--protocol", "mc66"]


@pytest.fixture
def call(capsys):
    """Call main() in this process."""

    def call_main(*arguments: str) -> Result:
        code = kr.main(list(arguments))
        return Result(code, *capsys.readouterr(), 0.0)

    return call_main


WRONG_CALLS = [
    ([], "REGISTER is missing"),
    ([PORT], "REGISTER is missing: 60 heat all"),
    ([PORT, "heat"], "'heat' E1 VA --list-registers"),
    ([PORT, "65536"], "no register '65536'"),
    ([PORT, ""], "no register ''"),
    ([PORT, "60", "0"], "IDX '0'"),
    ([PORT, "60", "-3"], "IDX '-3'"),
    ([PORT, "60", "1.0"], "IDX '1.0'"),
    ([PORT, "60", ""], "IDX ''"),
    ([*PUSH, "13"], "argument: 13"),
    ([PORT, "ALL", "12", "--dry-run"], "all can only be printed"),
    ([PORT, "all", "--create", "Heating"], "all can only be printed"),
    ([PORT, "all", *MC66], "all with this protocol"),
    ([*PUSH, "--create", "Heating"], "--create leave out IDX"),
    ([PORT, "60", "--create", "Heating", "--multiply", "0"], "--create leave out --multiply"),
    ([PORT, "60", "--create", " "], "--create needs a name"),
    ([PORT, "60", "--create", "Hot", "water"], "IDX 'water'"),
    ([PORT, "60", "--multiply", "0"], "--multiply IDX"),
    ([PORT, "60", "--dry-run"], "--dry-run IDX"),
    ([PORT, "60", "--baudrate", "300", *MC66], "--baudrate mc66"),
    ([PORT, "60", "--baudrate", "0"], "--baudrate above 0"),
    ([PORT, "60", "--wait", "nan"], "--wait at least 0"),
    ([PORT, "60", "--wait", "1,5"], "--wait '1,5'"),
    ([*PUSH, "--multiply", "1,5"], "--multiply '1,5'"),
    *(([*PUSH, "--multiply", text], f"--multiply {text!r}") for text in ("nan", "inf", "1e3")),
    *(([*PUSH, "--multiply", text], f"--multiply {text!r}") for text in ("", "1_0", "\u0661")),
    ([*PUSH, "--url", "127.0.0.1:8080"], "127.0.0.1:8080 http:// https://"),
    ([*PUSH, "--url", "http://meter:hush@host"], "DOMOTICZ_USER"),
    ([*PUSH, "--url", "meter:hush@host"], "DOMOTICZ_USER"),
    ([*PUSH, "--url", "http://host/?password=hush"], "DOMOTICZ_USER"),
    ([PORT, "60", "--wait"], "--wait expected one argument"),
    ([PORT, "60", "--protocol", "mbus"], "--protocol 'mbus' kmp mc66"),
    ([PORT, "60", "--prot", "kmp"], "--prot"),
    ([PORT, "60", "-x"], "-x"),
    ([PORT, "60", "\u2014json"], "IDX '\u2014json'"),  # a long dash, as web pages make it
]


@pytest.mark.parametrize(("arguments", "words"), WRONG_CALLS, ids=lambda value: str(value)[:60])
def test_a_wrong_call_is_refused_in_one_line_before_anything_is_done(call, arguments, words):
    line = call(*arguments).failed(2, *words.split())
    assert "hush" not in line


def test_a_wrong_call_in_a_process_of_its_own():
    run(*PUSH, "--multiply", "1,5").failed(2, "--multiply", "'1,5'")


@pytest.mark.parametrize(
    "secret", [["--password", "hush"], ["--password=hush"], ["-phush"]], ids=str
)
@pytest.mark.parametrize("place", [0, 1, 2, 3])
@pytest.mark.parametrize("arguments", [[PORT, "60"], PUSH, [*PUSH, "--user", "hush"]], ids=str)
def test_what_follows_an_unknown_option_is_not_repeated(call, secret, place, arguments):
    line = call(*arguments[:place], *secret, *arguments[place:]).failed(2, "unknown argument")
    assert "hush" not in line


@pytest.mark.parametrize("options", [["12"], ["12", "--multiply", "1"], ["--create", "Date"]])
def test_a_sensor_can_not_show_a_date(call, options):
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        call(meter.port, "1003", *options, "--url", domoticz.url).failed(2, "2026-11-22", "print")
        assert domoticz.requests == []


# Right calls


@pytest.mark.parametrize(
    "arguments",
    [
        "PORT 60",
        "PORT 0X3c",
        "PORT e1",
        "-v PORT 60",
        "PORT --wait 5 E1 --timeout 1.5",
        "--protocol kmp PORT 60",
        "--baudrate=1200 PORT 60",
        "-- PORT 60",
        "PORT 60 --wait 0",
        "PORT 60 12 --url URL",
        "--multiply 1000 PORT --url URL/ 60 12",
        "PORT --multiply=+1000.0 60 --url=URL/#/Dashboard 12",
        "PORT 060 12 --url URL --insecure",
    ],
)
def test_right_calls(call, arguments):
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        words = arguments.replace("PORT", meter.port).replace("URL", domoticz.url).split()
        result = call(*words)
    is_push = " 12" in arguments
    assert (result.code, result.out) == (0, "" if is_push else "16.235 GJ\n")
    assert [svalue for _, svalue in domoticz.pushes] == (["16235"] if is_push else [])


# Messages


@pytest.mark.parametrize(
    ("register", "code", "words"),
    [("E1", 3, "no such port"), ("0x3c", 4, "no response"), ("060", 5, "damaged"), ("va", 6, "no")],
)
def test_messages_name_the_register_as_it_was_typed(
    call, monkeypatch, tmp_path, register, code, words
):
    if code == 3:
        call(str(tmp_path / PORT), register).failed(3, f"register {register}: ", words)
        return
    received = {4: b"", 5: b"\x55", 6: sim.frame(0x40, b"\x3f\x10")}[code]
    connect(monkeypatch, lambda _request, _number: [(0.1, received)])
    line = call("PORT", register).failed(code, words)
    assert line.startswith(f"register {register}: ")


# --help and --version


def test_help_has_every_option_its_default_every_exit_code_and_three_examples():
    result = run("--help")
    text = result.out
    result.printed(*text.splitlines())
    assert text.startswith("usage: kamstrup_read.py [options] PORT REGISTER [IDX]\n")
    for words in (
        *("-h, --help", "--version", "--list-registers", "--json", "-v, --verbose", "--insecure"),
        *("--protocol {kmp,mc66}", "--baudrate N", "--wait SECONDS", "--timeout SECONDS"),
        *("--create NAME", "--multiply FACTOR", "--url URL", "--dry-run"),
        *("DOMOTICZ_USER", "DOMOTICZ_PASSWORD", "DOMOTICZ_URL", kr.DEFAULT_URL, "1200", "9600"),
        *(f"\n  {code}  " for code in (0, 1, 2, 3, 4, 5, 6, 7, 130)),
    ):
        assert words in text
    for default in ("--wait 10", "--timeout 2", "--wait 30", "--timeout 3"):
        assert default in " ".join(text.split())
    examples = text.partition("examples:\n")[2].splitlines()
    assert len(examples) == 3
    assert all(line.startswith("  kamstrup_read.py /dev/ttyUSB0 60 ") for line in examples)
    assert max(map(len, text.splitlines())) <= 80


def test_version_needs_nothing_else():
    for arguments in (["--version"], [PORT, "60", "--version"]):
        run(*arguments).printed(f"kamstrup_read {kr.__version__}")


# Ctrl-C


def test_ctrl_c_while_the_meter_is_silent():
    with sim.KmpMeter(always=sim.silence) as meter:
        job = start(meter.port, 60, "--timeout", LIMIT)
        wait_until(lambda: meter.requests)
        job.send_signal(signal.SIGINT)
        result = finish(job)
    assert result[:3] == (130, "", "")
