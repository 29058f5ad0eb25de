"""What is printed: tables, JSON, and outputs that can't be written.

situation                                        test
------------------------------------------------ ---------------------------------------------
one register                                     test_a_reading_is_a_line
the table that `all` prints                      test_all_..., test_each_reading_of_all_...
JSON of one register                             test_json_of_one_register_...
JSON of all registers, or of a part of them      test_json_of_all_...
--list-registers                                 test_list_registers_...
full disk, closed streams, `| head`              test_full_disk, test_closed_..., test_head_...
characters that the terminal can't show          test_a_name_that_...
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import threading

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from fake_serial import connect
from program import LIMIT, PREFIX, SLACK, Result, command, environment, run, start

import kamstrup_read as kr

WIDTH = 80  # columns of a terminal
EXAMPLE = sorted(sim.example())
SIX_GROUPS = [register for register in EXAMPLE if register < 114]  # in the first six requests


@pytest.mark.parametrize(
    ("register", "line"),
    [
        (60, "16.235 GJ"),
        (85, "0.000 m3"),
        (99, "0"),
        (98, "12-31"),
        (1002, "20:02:43"),
        (1003, "2026-11-22"),
        (1010, "2742640"),
    ],
)
def test_a_reading_is_a_line(register, line):
    with sim.KmpMeter() as meter:
        run(meter.port, register).printed(line)


# all


def test_all_is_a_table():
    with sim.KmpMeter() as meter:
        result = run(meter.port, "all")
    lines = result.out.splitlines()
    result.printed(*lines)
    assert [int(line.split()[0]) for line in lines] == EXAMPLE
    assert lines[0] == "   60  E1                16.235 GJ        Heat energy"
    assert lines[9] == "   98  XDAY               12-31           Target (reading) date"
    assert lines[-3] == " 1003  DATE          2026-11-22           Date"


@pytest.mark.parametrize("name", ["403", "601"])
def test_all_of_a_recorded_meter_fits_a_terminal(name):
    with sim.KmpMeter(sim.recorded(name)) as meter:
        result = run(meter.port, "ALL")
    lines = result.out.splitlines()
    result.printed(*lines)
    assert [int(line.split()[0]) for line in lines] == sorted(meter.registers)
    assert max(map(len, lines)) <= WIDTH


def longest_block(known: kr.Register) -> tuple[int, int, bytes]:
    """The longest value that a meter sends for a register of this unit."""
    if known.unit == "date+time":
        return 79, 0, bytes.fromhex("011a0b18142b05")
    if known.unit == "date":
        return 48, 0, (261122).to_bytes(4, "big")
    if known.id in (1126, 1010):
        return 54, 0, b"x" * 20
    units = {name: number for number, name in kr.UNITS.items() if name}
    unit = max(
        (units.get(name, 51) for name in known.unit.split("/")), key=lambda i: len(kr.UNITS[i])
    )
    return unit, 0xC3, b"\xff" * 4  # -4294967.295


def test_all_fits_a_terminal_with_long_values_of_every_register():
    registers = {known.id: longest_block(known) for known in kr.known_registers().values()}
    with sim.KmpMeter(registers) as meter:
        lines = run(meter.port, "all").out.splitlines()
    assert [int(line.split()[0]) for line in lines] == sorted(registers)
    assert max(map(len, lines)) <= WIDTH
    for line, known in zip(lines, kr.known_registers().values()):
        assert line.endswith(f" {known.description}")


def test_all_shows_a_value_that_is_too_long_for_its_column():
    with sim.KmpMeter({60: (59, 0, bytes(range(1, 256)))}) as meter:
        result = run(meter.port, "all")
    digits = bytes(range(1, 256)).hex()
    result.printed(f"   60  E1           0x{digits} bitfield Heat energy")


class Held:
    """A fault that holds a response back until the test has seen what came before it."""

    def __init__(self) -> None:
        self.seen = threading.Event()
        self.was_seen_in_time = False

    def __call__(self, _meter: sim.Line, _request: bytes, response: bytes) -> sim.Chunks:
        self.was_seen_in_time = self.seen.wait(SLACK)
        return [(0, response)]


def read_until(job: subprocess.Popen[str], words: str) -> str:
    """What a program prints, up to these words."""
    printed = ""
    while words not in printed:
        character = job.stdout.read(1)
        assert character, printed
        printed += character
    return printed


def read_rest(job: subprocess.Popen[str], begin: str) -> Result:
    """How a program ends of whose output something has been read."""
    out, err = job.stdout.read(), job.stderr.read()
    return Result(job.wait(LIMIT), begin + out, err, 0.0)


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_each_reading_of_all_comes_as_soon_as_it_is_known(options):
    held = Held()
    with sim.KmpMeter(faults=[*[sim.right] * 5, held]) as meter:
        job = start(meter.port, "all", "--timeout", LIMIT, *options)
        begin = read_until(job, "16.235")
        held.seen.set()
        result = read_rest(job, begin)
    assert held.was_seen_in_time
    assert (result.code, result.err) == (0, "")
    assert "Customer number" in result.out


# JSON


@pytest.mark.parametrize(
    ("register", "block", "words"),
    [
        pytest.param(
            *(60, (8, 0x43, b"\x00\x00\x3f\x66"), '"value": 16.230, "unit": "GJ"'),
            id="all of the meter's digits",
        ),
        pytest.param(
            *(60, (10, 0xC2, b"\x00\x00\x30\x39"), '"value": -123.45, "unit": "kcal"'),
            id="negative",
        ),
        pytest.param(
            *(60, (40, 0x03, b"\xff"), '"value": 255000, "unit": "m3"'), id="positive exponent"
        ),
        pytest.param(
            *(60, (8, 0x6F, b"\x01"), f'"value": 0.{"0" * 46}1, "unit": "GJ"'), id="no exponent"
        ),
        pytest.param(
            *(1001, (51, 0, b"\xff" * 8), '"value": 18446744073709551615, "unit": null'),
            id="more digits than a float",
        ),
        pytest.param(*(80, (22, 0x41, b"\x00"), '"value": 0.0, "unit": "kW"'), id="zero"),
        pytest.param(*(99, (51, 0x00, b"\x00"), '"value": 0, "unit": null'), id="no unit"),
        pytest.param(
            *(1003, (48, 0, b"\x03\x5b\xd0"), '"value": "2022-01-12", "unit": null'), id="date"
        ),
        pytest.param(
            *(1126, (54, 0, b'68"5\\2'), '"value": "68\\"5\\\\2", "unit": null'), id="text"
        ),
        pytest.param(
            *(369, (59, 0, b"\x0a\x0b"), '"value": "0x0a0b", "unit": "bitfield"'), id="raw bytes"
        ),
        pytest.param(*(60, (93, 0, b"\x07"), '"value": 7, "unit": "unit 93"'), id="unknown unit"),
        pytest.param(
            *(5000, (8, 0, b"\x07"), '"register": 5000, "symbol": null, "description": null,'),
            id="unknown register",
        ),
        pytest.param(
            *(0, (8, 0, b"\x07"), '"register": 0, "symbol": null, "description": null,'),
            id="register 0",
        ),
        pytest.param(
            *(51, (51, 0, b"\x07"), '"symbol": null, "description": "Meter number 1"'),
            id="no symbol",
        ),
    ],
)
def test_json_of_one_register_is_an_object_in_a_line(register, block, words):
    with sim.KmpMeter({register: block}) as meter:
        result = run(meter.port, register, "--json")
    (line,) = result.out.splitlines()
    result.printed(line)
    assert words in line
    assert list(json.loads(line)) == ["register", "symbol", "description", "value", "unit"]


def test_json_leaves_errors_as_they_are():
    with sim.KmpMeter() as meter:
        run(meter.port, 61, "--json").failed(6, "no register 61")


def registers_in_json(result: Result) -> list[int]:
    return [row["register"] for row in json.loads(result.out)]


def test_json_of_all_is_a_list_with_an_object_in_each_line():
    with sim.KmpMeter() as meter:
        result = run(meter.port, "all", "--json")
        one = run(meter.port, 60, "--json").out.strip()
    lines = result.out.splitlines()
    result.printed(*lines)
    assert registers_in_json(result) == EXAMPLE
    assert lines[0] == f"[{one},"
    assert len(lines) == len(EXAMPLE)


def asleep_after(responses: int):
    """A meter that responds so many times, and then falls asleep."""
    registers = sim.example()

    def respond(request: bytes, number: int) -> sim.Chunks:
        requested = sim.requested_registers(sim.content_of(request, 0x80))
        blocks = [sim.block(i, *registers[i]) for i in requested if i in registers]
        response = sim.frame(0x40, b"\x3f\x10" + b"".join(blocks))
        return [(0.01, response)] if number < responses else []

    return respond


def test_json_of_all_of_a_meter_that_falls_asleep(monkeypatch, capsys):
    connect(monkeypatch, asleep_after(6))
    code = kr.main(["PORT", "all", "--json"])
    result = Result(code, *capsys.readouterr(), 0.0)
    assert registers_in_json(result) == SIX_GROUPS
    assert result.code == 0
    assert result.err.startswith("kamstrup_read: registers not read: ")
    assert result.err.count("\n") == 1


def test_json_of_all_of_a_meter_that_sleeps_prints_nothing(monkeypatch, capsys):
    connect(monkeypatch, asleep_after(0))
    code = kr.main(["PORT", "all", "--json"])
    Result(code, *capsys.readouterr(), 0.0).failed(4, kr.NoResponseError.seen)


def test_json_of_all_of_a_meter_that_is_unplugged():
    with sim.KmpMeter(faults=[sim.right] * 6, always=sim.unplug()) as meter:
        result = run(meter.port, "all", "--json")
    assert registers_in_json(result) == SIX_GROUPS
    assert result.code == 0
    assert "vanished" in result.err


def test_json_of_all_that_is_interrupted():
    with sim.KmpMeter(faults=[sim.right] * 6, always=sim.silence) as meter:
        job = start(meter.port, "all", "--json", "--timeout", LIMIT)
        begin = read_until(job, f'"register": {SIX_GROUPS[-1]}')
        job.send_signal(signal.SIGINT)
        result = read_rest(job, begin)
    assert registers_in_json(result) == SIX_GROUPS
    assert (result.code, result.err) == (130, "")


# --list-registers


def test_list_registers_is_the_table_in_the_module():
    run("--list-registers").printed(*kr.REGISTER_TABLE.strip("\n").splitlines())


def test_list_registers_fits_a_terminal():
    assert max(map(len, run("--list-registers").out.splitlines())) <= WIDTH


def test_list_registers_as_json():
    result = run("--list-registers", "--json")
    result.printed(*result.out.splitlines())
    rows = {row["register"]: row for row in json.loads(result.out)}
    assert list(rows) == list(kr.known_registers())
    assert rows[60] == {
        "register": 60,
        "symbol": "E1",
        "unit": "GJ/MWh/kWh",
        "description": "Heat energy",
    }
    assert rows[58] == {
        "register": 58,
        "symbol": None,
        "unit": None,
        "description": "Pulse input",
    }


# Outputs that can't be written

CLOSED = f"{PREFIX}the output can't be written: it is closed\n"
FULL = f"{PREFIX}the output can't be written: No space left on device\n"


def shell(line: str, **words: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which READ is the program, and each of the words stands for another."""
    for word, meaning in words.items():
        line = line.replace(word, meaning)
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line.replace("READ", shlex.join(command()))],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        ("PORT all", "   60  E1"),
        ("PORT all --json", '[{"register": 60, '),
        ("--list-registers", "    1  A14"),
        ("--list-registers --json", '[{"register": 1, '),
    ],
)
def test_head_may_stop_reading(arguments, first):
    with sim.KmpMeter() as meter:
        done = shell(f"READ {arguments} | head -n 1", PORT=meter.port)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(first)
    assert done.stdout.count("\n") == 1


def test_a_pipe_that_nobody_reads():
    with sim.KmpMeter() as meter:
        done = shell("READ PORT 60 --timeout 60 | exec 0<&-", PORT=meter.port)
    assert (done.returncode, done.stderr) == (0, "")


PRINTING = [
    "PORT 60",
    "PORT 60 --json",
    "PORT all",
    "PORT all --json",
    "PORT 60 12 --dry-run --url URL",
    "PORT 60 --create Heat --url URL",
    "--list-registers",
    "--list-registers --json",
    "--help",
    "--version",
]


@pytest.mark.parametrize("arguments", PRINTING)
@pytest.mark.parametrize(
    ("output", "message"), [(">&-", CLOSED), ("> /dev/full", FULL)], ids=["closed", "full"]
)
def test_closed_output_or_full_disk_is_a_failure_where_something_is_printed(
    arguments, output, message
):
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        done = shell(f"READ {arguments} {output}", PORT=meter.port, URL=domoticz.url)
    assert (done.returncode, done.stderr) == (1, message)


@pytest.mark.parametrize("output", [">&-", "> /dev/full", "| true"])
def test_closed_output_or_full_disk_is_no_failure_of_a_push(output):
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        done = shell(f"READ PORT 60 12 --url URL {output}", PORT=meter.port, URL=domoticz.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert domoticz.pushes == [("12", "16.235")]


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-", "2> /dev/full", "2> >(true)"])
def test_closed_input_or_nowhere_to_report_to(closed):
    with sim.KmpMeter(faults=[sim.silence]) as meter:
        done = shell(f"READ PORT 60 --wait 60 -v {closed}", PORT=meter.port)
        failed = shell(f"READ PORT 61 {closed}", PORT=meter.port)
        wrong = shell(f"READ PORT {closed}", PORT=meter.port)
    assert (done.returncode, done.stdout) == (0, "16.235 GJ\n")
    assert (failed.returncode, failed.stdout) == (6, "")
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_a_full_disk_ends_all_at_once():
    with sim.KmpMeter() as meter:
        done = shell("READ PORT all > /dev/full", PORT=meter.port)
        requests = len(meter.requests)
    assert done.returncode == 1
    assert EXAMPLE[0] == 60
    assert requests == 2  # registers 1 to 31, and those with 60 among them


# Characters that the terminal can't show

NAME = "W\u00e4rme \u2192"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", NAME.encode()),
        ("latin-1", b"W\xe4rme \\u2192"),
        ("ascii", b"W\\xe4rme \\u2192"),
        ("ascii:strict", b"W\\xe4rme \\u2192"),
    ],
    ids=["utf-8", "latin-1", "ascii", "ascii:strict"],
)
def test_a_name_that_the_terminal_can_not_show(encoding, shown):
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        domoticz.devices["12"]["Name"] = NAME
        done = subprocess.run(
            command(meter.port, 60, 12, "--dry-run"),
            env=environment(PYTHONIOENCODING=encoding, DOMOTICZ_URL=domoticz.url),
            capture_output=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"sensor:   " + shown + b" (RFXMeter" in done.stdout


def test_a_name_that_can_not_be_reported():
    """stderr shows it as far as it can."""
    done = subprocess.run(
        command(f"/dev/{NAME}", 60),
        env=environment(PYTHONIOENCODING="ascii"),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.startswith(b"kamstrup_read: /dev/W\\xe4rme \\u2192 does not exist")


def test_a_name_with_line_breaks_and_escapes_is_one_line():
    result = run("/dev/tty\n\x1b[2Jkamstrup_read: x", 60)
    result.failed(3, "/dev/tty [2Jkamstrup_read: x does not exist")
