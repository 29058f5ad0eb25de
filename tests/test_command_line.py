"""The command line: wrong calls, symbols, what a terminal shows meanwhile, output that can't be written."""

from __future__ import annotations

import json
import os
import pathlib
import pty
import re
import select
import subprocess
import sys
import threading
import time

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from conftest import PROGRAM, ROOT, SLACK, environment, run

import kamstrup_read as kr

PORT = "/dev/null"  # where it is opened, the exit code is 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "PORT and REGISTER are needed"),
        ([PORT], "PORT and REGISTER are needed"),
        ([PORT, "65536"], "no register"),
        ([PORT, "0x10000"], "no register"),
        ([PORT, "0x000003c"], "no register"),
        ([PORT, "0000060"], "no register"),
        ([PORT, "999999999999"], "no register"),
        ([PORT, "9" * 5000], "no register"),
        ([PORT, "0x"], "no register"),
        ([PORT, "0xg"], "no register"),
        ([PORT, "-1"], "no register"),
        ([PORT, ""], "no register"),
        ([PORT, "1.5"], "no register"),
        ([PORT, "6_0"], "no register"),
        ([PORT, "٦٠"], "no register"),
        ([PORT, "E99"], "E9"),
        ([PORT, "POWER"], "POWER1"),
        ([PORT, "60", "0"], "IDX"),
        ([PORT, "60", "-3"], "IDX"),
        ([PORT, "60", "x"], "IDX"),
        ([PORT, "60", "1.0"], "IDX"),
        ([PORT, "60", "1", "2"], "more than PORT, REGISTER and IDX"),
        (["60", PORT], "PORT comes first"),
        ([PORT, "60", "1", "--multiply", "0"], "--multiply 0"),
        ([PORT, "60", "1", "--multiply", "nan"], "--multiply"),
        ([PORT, "60", "1", "--multiply", "inf"], "--multiply"),
        ([PORT, "60", "1", "--multiply", "abc"], "--multiply"),
        ([PORT, "60", "1", "--multiply", "1,5"], "--multiply"),
        ([PORT, "60", "1", "--multiply", "1e3"], "--multiply"),
        ([PORT, "60", "1", "--decimals", "-1"], "--decimals"),
        ([PORT, "60", "1", "--decimals", "1.5"], "--decimals"),
        ([PORT, "60", "1", "--decimals", "21"], "--decimals"),
        ([PORT, "60", "--wait", "-1"], "--wait"),
        ([PORT, "60", "--wait", "nan"], "--wait"),
        ([PORT, "60", "--wait", "99999999"], "--wait"),
        ([PORT, "60", "--wait"], "--wait"),
        ([PORT, "60", "--timeout", "0"], "--timeout"),
        ([PORT, "60", "--timeout", "x"], "--timeout"),
        ([PORT, "60", "--baudrate", "0"], "--baudrate"),
        ([PORT, "60", "--baudrate", "1200.5"], "--baudrate"),
        ([PORT, "60", "--protocol", "mbus"], "--protocol"),
        ([PORT, "60", "--prot", "kmp"], "--prot is not understood"),
        ([PORT, "60", "1", "--url", "127.0.0.1:8080"], "must look like"),
        ([PORT, "60", "1", "--url", "ftp://127.0.0.1"], "must look like"),
        ([PORT, "60", "1", "--url", "http://"], "must look like"),
        ([PORT, "60", "1", "--url", "http://host:x"], "must look like"),
        ([PORT, "60", "1", "--url", "http://host:99999"], "must look like"),
        ([PORT, "60", "1", "--url", "http://host/?x=1"], "must look like"),
        ([PORT, "60", "1", "--url", "http://ho st"], "must look like"),
        ([PORT, "60", "--multiply", "1000"], "--multiply does nothing without IDX"),
        ([PORT, "60", "--decimals", "1"], "--decimals does nothing without IDX"),
        ([PORT, "60", "--url", "http://127.0.0.1"], "--url does nothing without IDX"),
        ([PORT, "60", "--insecure"], "--insecure does nothing without IDX"),
        ([PORT, "60", "--dry-run"], "--dry-run does nothing without IDX"),
        ([PORT, "60", "1", "--insecure"], "--insecure does nothing without https"),
        ([PORT, "60", "1", "--json"], "--json does nothing with IDX"),
        ([PORT, "60", "1", "--json", "--dry-run"], "--json does nothing with IDX"),
        ([PORT, "60", "--protocol", "mc66", "--baudrate", "1200"], "--baudrate does nothing with mc66"),
        ([PORT, "all", "1"], "not for one IDX"),
        ([PORT, "all", "--protocol", "mc66"], "with mc66 ask for one of 60 68"),
        (["--list-registers", PORT], "--list-registers stands alone, or with --json"),
        (["--list-registers", "--wait", "5"], "--list-registers stands alone, or with --json"),
        (["--list-registers", "--wait", "0"], "--list-registers stands alone, or with --json"),
        ([PORT, "60", "1", "--password=geheim"], "--password is not understood"),
    ],
    ids=lambda what: " ".join(what) if isinstance(what, list) else "says",
)
def test_wrong_calls(arguments, says):
    result = run(*arguments)
    assert result.code == 2
    assert says in result.one_line()
    assert "geheim" not in result.err
    assert result.seconds < SLACK


@pytest.mark.parametrize(
    "arguments",
    [
        ["PORT", "60"],
        ["PORT", "0x3c"],
        ["PORT", "0X3C"],
        ["PORT", "e1"],
        ["-v", "PORT", "60"],
        ["PORT", "-v", "60"],
        ["PORT", "--wait", "5", "E1", "--timeout", "1.5"],
        ["--protocol", "kmp", "PORT", "060"],
        ["--baudrate=1200", "PORT", "60"],
    ],
    ids=" ".join,
)
def test_right_calls(arguments):
    with sim.KmpMeter() as meter:
        result = run(*[meter.port if word == "PORT" else word for word in arguments])
    assert (result.code, result.out) == (0, "16.235 GJ\n")


@pytest.mark.parametrize(
    ("option", "limits"),
    [
        ("--idx", "1 999999999"),
        ("--baudrate", "300 115200"),
        ("--wait", "0 86400"),
        ("--timeout", "0.1 3600"),
        ("--multiply", "-1000000000 1000000000"),
        ("--decimals", "0 20"),
    ],
)
def test_the_limits_themselves_are_allowed(option, limits):
    for limit in limits.split():
        words = [PORT, "60", limit] if option == "--idx" else [PORT, "60", "1", f"{option}={limit}"]
        assert float(getattr(kr.parse(words), option[2:])) == float(limit)


def test_an_empty_url_is_none_given():
    assert kr.domoticz_of(kr.parse([PORT, "60", "1", "--url", ""]), kr.Watch()).url == kr.DEFAULT_URL


def test_options_may_stand_between_the_arguments_of_a_push():
    args = kr.parse(["PORT", "--wait", "5", "60", "--multiply", "1000", "12", "--url", "http://x"])
    assert (args.port, args.register, args.idx, args.multiply) == ("PORT", 60, 12, 1000)


# Registers and their symbols


def test_the_table_is_whole():
    known = kr.known_registers()
    assert list(known) == sorted(known)
    for row in json.loads((ROOT / "tests" / "data" / "registers.json").read_text(encoding="utf-8")):
        assert known[row["id"]][0] == (row["symbol"] or "")
    for register, (symbol, unit, description) in known.items():
        assert 0 < register <= 0xFFFF
        assert re.fullmatch("[A-Z0-9-]*", symbol)
        assert " " not in unit
        assert description.isascii()
        assert len(description) > 2


def test_every_symbol_stands_for_its_register_in_any_case_and_spelling():
    symbols = [(symbol, register) for register, (symbol, _, _) in kr.known_registers().items() if symbol]
    assert len({kr.register_id(symbol) for symbol, _ in symbols}) == len(symbols) > 50
    for symbol, register in symbols:
        for spelling in (symbol, symbol.lower(), symbol.replace("-", " "), symbol.replace("-", "_")):
            assert kr.register_id(spelling) == register


@pytest.mark.parametrize(
    ("name", "register"),
    [
        ("EFFEKT1", 80),
        ("METER NO 1", 1010),
        ("serie no", 1001),
        ("E1HighRes", 266),
        ("V1HighRes", 239),
        ("CHECK SUM 1", 154),
        ("TOPMODUL ID", 157),
        ("ERRORHOURCOUNTER", 175),
        ("INA LITERIMP", 234),
    ],
)
def test_names_of_kamstrups_documents(name, register):
    assert kr.register_id(name) == register


@pytest.mark.parametrize(("typo", "meant"), [("E11", "E1"), ("FLOW", "FLOW1"), ("POWER2", "POWER1"), ("VC", "V")])
def test_unknown_symbols_suggest_close_ones(typo, meant):
    with pytest.raises(kr.UsageError, match=meant):
        kr.register_id(typo)


def test_list_registers():
    lines = run("--list-registers").out.splitlines()
    rows = json.loads(run("--list-registers", "--json").out)
    assert len(lines) == len(rows) == len(kr.known_registers())
    assert lines[15].split(None, 3) == ["60", "E1", "GJ/MWh/kWh", "Heat energy"]
    assert rows[15] == {"register": 60, "symbol": "E1", "unit": "GJ/MWh/kWh", "description": "Heat energy"}
    assert rows[4]["symbol"] is None
    assert max(map(len, lines)) < 100


def test_help_names_every_option_and_exit_code():
    text = run("--help").out
    for option in ("--protocol", "--baudrate", "--wait", "--timeout", "--multiply", "--decimals", "--url"):
        assert option in text
    for name in ("DOMOTICZ_USER", "DOMOTICZ_PASSWORD", "DOMOTICZ_URL", "exit codes", "130"):
        assert name in text
    assert run("--version").out == f"kamstrup_read {kr.__version__}\n"


# What somebody at a terminal sees meanwhile


def on_a_terminal(*args: object) -> tuple[int, str, list[str]]:
    """Exit code, stdout and the lines that a terminal got on stderr."""
    terminal, slave = pty.openpty()
    command = [sys.executable, str(PROGRAM), *map(str, args)]
    job = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=slave, encoding="utf-8")
    os.close(slave)
    shown = b""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                shown += os.read(terminal, 4096)
            except OSError:
                break
    out = job.communicate()[0]
    os.close(terminal)
    return job.returncode, out, shown.decode().splitlines()


def test_how_each_try_ended_is_told_on_a_terminal():
    with sim.KmpMeter(faults=[sim.silence, sim.bad_crc], echo=True) as meter:
        code, out, lines = on_a_terminal(meter.port, 60, "--wait", 42)
    assert (code, out) == (0, "16.235 GJ\n")
    echo, damage = lines
    assert re.fullmatch(
        "only the head's echo: turn the head or press a button on the meter; (39|4[01])[.][0-9] s left", echo
    )
    assert re.fullmatch(
        r"a damaged answer \(its CRC is wrong\): press the head flat .*; (3[5-9]|40)[.][0-9] s left", damage
    )


def test_the_last_try_is_told_in_the_error_alone():
    with sim.KmpMeter(always=sim.silence) as meter:
        code, _, lines = on_a_terminal(meter.port, 60, "--wait", 3)
    assert code == 4
    assert len(lines) == 2
    assert lines[0].startswith("no answer from the meter: press a button")
    assert lines[1].startswith("kamstrup_read: no answer from the meter in 2 of 2 tries")


def test_a_busy_port_is_told_once():
    with sim.KmpMeter() as meter:
        holder = kr.open_port(meter.port, 1200)
        timer = threading.Timer(3, holder.close)
        timer.start()
        code, out, lines = on_a_terminal(meter.port, 60)
        timer.join()
    assert (code, out) == (0, "16.235 GJ\n")
    assert lines == [f"{meter.port} is busy: another program is using it; 10.0 s left"]


def test_nothing_is_told_where_nothing_goes_wrong():
    with sim.KmpMeter() as meter:
        assert on_a_terminal(meter.port, 60) == (0, "16.235 GJ\n", [])


def test_tries_are_not_told_on_a_pipe():
    with sim.KmpMeter(faults=[sim.silence]) as meter:
        assert run(meter.port, 60).err == ""


# Output that can't be written; things that are missing


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace("PROGRAM", f"{sys.executable} {PROGRAM}")],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_head_may_stop_reading():
    with sim.KmpMeter() as meter:
        done = shell(f"PROGRAM {meter.port} all | head -n 1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("   60  E1")
    done = shell("PROGRAM --list-registers | head -n 1")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="a device of Linux")
def test_full_disk():
    with sim.KmpMeter() as meter:
        done = shell(f"PROGRAM {meter.port} 60 > /dev/full")
        failed = shell(f"PROGRAM {meter.port} 60 1 --dry-run --url http://127.0.0.1:9 > /dev/full")
    assert done.returncode == failed.returncode == 1
    assert failed.stderr == done.stderr
    assert re.fullmatch("kamstrup_read: the output can't be written: .*\n", done.stderr)


def test_nowhere_to_write_errors_to():
    with sim.KmpMeter(faults=[sim.silence]) as meter:
        assert shell(f"PROGRAM -v {meter.port} 60 2> /dev/full").stdout == "16.235 GJ\n"
        assert shell(f"PROGRAM {meter.port} 61 2> /dev/full").returncode == 6
        assert shell(f"PROGRAM -v {meter.port} 60 2> >(true)").returncode == 0


def test_closed_stdout_is_no_failure_of_a_push():
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        done = shell(f"PROGRAM {meter.port} 60 12 --url {domoticz.url} >&-")
    assert (done.returncode, done.stderr) == (0, "")
    assert domoticz.pushes == [("12", "16.235")]


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_closed_streams(closed):
    with sim.KmpMeter() as meter:
        done = shell(f"PROGRAM {meter.port} 60 {closed}")
        assert (done.returncode, done.stdout) == (0, "16.235 GJ\n")
        failed = shell(f"PROGRAM {meter.port} 61 {closed}")
        assert (failed.returncode, failed.stdout) == (6, "")


@pytest.mark.parametrize(("module", "options", "code"), [("serial", [], 3), ("requests", ["1"], 7)])
@pytest.mark.parametrize("broken", ["raise ImportError", "raise AttributeError('x')", "def"])
def test_a_missing_or_broken_library(module, options, code, broken, tmp_path):
    (tmp_path / f"{module}.py").write_text(broken + "\n")
    with sim.KmpMeter() as meter:
        result = run(meter.port, 60, *options, env={"PYTHONPATH": str(tmp_path)})
    assert result.code == code
    assert "sudo apt install python3-" in result.one_line()


def test_it_is_a_module_too():
    with sim.KmpMeter() as meter:
        code = f"from kamstrup_read import read_register; print(repr(read_register({meter.port!r}, 60)))"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"Reading(register=60, value=Decimal('16.235'), unit='GJ')\n"
