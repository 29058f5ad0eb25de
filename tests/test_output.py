"""What is printed, in which form and where to; outputs that can't be written.

situation                                        test
------------------------------------------------ ---------------------------------------------
one register as JSON                             test_json_of_one_...
`all`: complete, incomplete, interrupted         test_all_...
--list-registers                                 test_list_registers
-v; a terminal while --wait lasts                test_a_terminal_...
full disk, closed streams, nobody reads on       test_an_output_..., test_nobody_..., ...
characters that don't belong into a line         test_names_...
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from fake_serial import Chunks, connect
from program import LIMIT, PREFIX, command, environment, finish, run, start, wait_until

import kamstrup_read as kr

WIDTH = 80  # columns of a terminal
HEAT_ROW = "   60  E1                16.235 GJ        Heat energy\n"
TEXT_OR_JSON = pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])


@pytest.mark.parametrize(
    ("register", "block", "value", "unit"),
    [
        (60, (8, 0x43, b"\x00\x00\x3f\x66"), 16.23, "GJ"),
        (60, (40, 0x03, b"\xff"), 255000, "m3"),
        (80, (22, 0x41, b"\x00"), 0.0, "kW"),
        (1001, (51, 0, b"\xff" * 8), 2**64 - 1, ""),
        (1003, (48, 0, b"\x03\x5b\xd0"), "2022-01-12", ""),
        (1126, (54, 0, b'68"5\\2'), '68"5\\2', ""),
        (5000, (93, 0, b"\x07"), 7, "unit 93"),
    ],
)
def test_json_of_one_register_is_an_object_in_a_line(capsys, register, block, value, unit):
    """An int where the meter sends no decimals, otherwise a float."""
    with sim.KmpMeter({register: block}) as meter:
        assert kr.main([meter.port, str(register), "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    shown = json.loads(out)
    known = kr.known_registers().get(register, kr.Register(register, "", "", ""))
    assert shown == {**known._asdict(), "value": value, "unit": unit}
    assert type(shown["value"]) is type(value)


def test_list_registers():
    result = run("--list-registers")
    result.printed(*kr.REGISTER_TABLE.strip("\n").splitlines())
    assert max(map(len, result.out.splitlines())) <= WIDTH


def registers_in(out: str) -> list[int]:
    """Those in the table or the JSON list that `all` has printed."""
    if out.startswith("["):
        return [row["register"] for row in json.loads(out)]
    return [int(line.split()[0]) for line in out.splitlines()]


def test_all_is_a_table_that_fits_a_terminal():
    long_value = (42, 0xC3, b"\xff" * 4)
    with sim.KmpMeter(dict.fromkeys(kr.known_registers(), long_value)) as meter:
        lines = run(meter.port, "all").out.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert len(lines) == len(kr.known_registers())
    for line, known in zip(lines, kr.known_registers().values()):
        assert line.startswith(f"{known.register:>5}  {known.symbol} ")
        assert "-4294967.295 m3/h" in line
        assert line.endswith(f" {known.description}")


@TEXT_OR_JSON
@pytest.mark.parametrize(
    ("known", "awake_until", "code", "error"),
    [
        (sim.example(), 0xFFFF, 0, ""),
        (sim.example(), 99, 4, "could not read .*no response from the meter: .*\n"),
        (sim.example(), 0, 4, "no response from the meter: .*\n"),
        ({}, 0xFFFF, 6, "the meter has none of the known registers: .*\n"),
    ],
)
def test_all_that_could_be_read_is_printed_before_an_error(
    monkeypatch, capsys, known, awake_until, code, error, options
):
    """The meter does not respond where a register above awake_until is requested."""

    def respond(request: bytes, _number: int) -> Chunks:
        requested = sim.requested_registers(sim.content_of(request, 0x80))
        blocks = b"".join(sim.block(i, *known[i]) for i in requested if i in known)
        is_awake = max(requested) <= awake_until
        return [(0.01, sim.frame(0x40, b"\x3f\x10" + blocks))] if is_awake else []

    connect(monkeypatch, respond)
    assert kr.main(["PORT", "all", *options]) == code
    out, err = capsys.readouterr()
    expected = [number for number in sorted(known) if number <= awake_until]
    assert registers_in(out) == expected
    assert expected or out == ""
    assert re.fullmatch(error and f"{PREFIX}register all: {error}", err)


@TEXT_OR_JSON
def test_all_that_was_read_is_printed_when_it_is_interrupted(options):
    later = [number for number in kr.known_registers() if number > 99]
    with sim.KmpMeter(always=sim.poison(*later)) as meter:
        job = start(meter.port, "all", "--timeout", LIMIT, *options)
        if not options:
            assert job.stdout.readline() == HEAT_ROW  # as soon as it is read
        wait_until(lambda: meter.requests and later[0] in meter.requests[-1])
        job.send_signal(signal.SIGINT)
        result = finish(job)
    read = {number for request in meter.requests[:-1] for number in request} & set(meter.registers)
    assert (result.code, result.err) == (130, "")
    assert registers_in(result.out if options else HEAT_ROW + result.out) == sorted(read)


RESPONSE = sim.frame(0x40, b"\x3f\x10" + sim.block(60, *sim.example()[60]))
SENT, RECEIVED = f"-> {kr.encode_request([60]).hex(' ')}\n", f"<- {RESPONSE.hex(' ')}\n"
VERBOSE = f"{SENT}no response from the meter: .*\n{SENT}{RECEIVED}"


@pytest.mark.parametrize(
    ("on_terminal", "options", "reported"),
    [
        (False, [], ""),
        (True, [], "no response from the meter, [0-9]+ s left\n"),
        (False, ["-v"], VERBOSE),
        (True, ["-v"], VERBOSE),
    ],
)
def test_a_terminal_gets_a_short_line_for_each_attempt_and_verbose_shows_each_frame(
    monkeypatch, capsys, on_terminal, options, reported
):
    connect(monkeypatch, lambda _request, number: [(0.1, RESPONSE)] if number else [])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: on_terminal)
    assert kr.main(["PORT", "60", *options]) == 0
    out, err = capsys.readouterr()
    assert out == "16.235 GJ\n"
    assert re.fullmatch(reported, err)


def redirected(output: str, *arguments: object) -> tuple[int, str, str]:
    """How the program ended with its output redirected as bash does it."""
    call = ["bash", "-c", f'"$@" {output}', "bash", *command(*arguments)]
    options = {"capture_output": True, "encoding": "utf-8", "timeout": LIMIT}
    done = subprocess.run(call, env=environment(), check=False, **options)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("output", [">&-", "> /dev/full"], ids=["closed", "full"])
@pytest.mark.parametrize("arguments", [["60"], ["all"], ["all", "--json"]], ids=" ".join)
def test_an_output_that_can_not_be_written_is_an_error(arguments, output):
    with sim.KmpMeter() as meter:
        code, _, err = redirected(output, meter.port, *arguments)
    assert code == 1
    assert re.fullmatch(f"{PREFIX}the output can't be written: .*\n", err)


def test_nobody_who_reads_on_is_no_reason_to_complain():
    reader, writer = os.pipe()
    os.close(reader)
    options = {"env": environment(), "stdout": writer, "stderr": subprocess.PIPE}
    done = subprocess.run(command("--list-registers"), check=False, **options)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-", "2> /dev/full"])
def test_nowhere_to_report_to(closed):
    with sim.KmpMeter() as meter:
        assert redirected(closed, meter.port, 60, "-v")[:2] == (0, "16.235 GJ\n")
        assert redirected(closed, meter.port, 61)[:2] == (6, "")


def test_names_are_escaped_where_they_do_not_belong_into_a_line():
    """Line breaks and escapes of a server or an argument, and what the terminal can't show."""
    run("/dev/tty\n\x1b[2Jkamstrup_read: x", "60\n").failed(3)
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        domoticz.devices["12"]["Name"] = "W\u00e4rme\nkamstrup_read: \x1b[2Jb"
        variables = {"PYTHONIOENCODING": "ascii", "DOMOTICZ_URL": domoticz.url}
        result = run(meter.port, 60, 12, "--dry-run", env=variables)
    line = result.out.strip("\n")
    result.printed(line)
    assert line.isprintable()
    assert r"W\xe4rme" in line
