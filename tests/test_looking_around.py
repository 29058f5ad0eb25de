"""For the person in front of the meter: all registers, JSON, the dry run."""

from __future__ import annotations

import json
import subprocess
import sys

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from conftest import PROGRAM, SLACK, environment, run

import kamstrup_read as kr

# all


def ids(out: str) -> list[int]:
    return [int(line.split()[0]) for line in out.splitlines()]


def test_all_prints_what_the_meter_has():
    with sim.KmpMeter() as meter:
        result = run(meter.port, "all")
        assert max(map(len, meter.asked)) == 8
        assert len(meter.asked) == 21
    assert (result.code, result.err) == (0, "")
    assert ids(result.out) == sorted(meter.registers)
    lines = result.out.splitlines()
    assert lines[0].split() == ["60", "E1", "16.235", "GJ", "Heat", "energy"]
    assert lines[12].split(None, 2) == ["123", "2022-01-12", "Date of this year's highest flow"]
    assert len({line.index("Heat") for line in lines if "Heat" in line}) == 1


@pytest.mark.parametrize("meter_name", ["403", "601"])
def test_all_of_a_recorded_meter(meter_name):
    with sim.KmpMeter(sim.recorded(meter_name)) as meter:
        assert ids(run(meter.port, "ALL").out) == sorted(meter.registers)


def test_each_line_comes_as_soon_as_it_is_known():
    with sim.KmpMeter(pace=True) as meter:
        command = [sys.executable, str(PROGRAM), meter.port, "all"]
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE) as job:
            job.stdout.readline()
            asked = len(meter.asked)
            job.stdout.read()
    assert asked < 5
    assert len(meter.asked) == 21


class Poisoned(sim.KmpMeter):
    """Says nothing when it is asked for certain registers."""

    poison: tuple[int, ...] = ()

    def _reply(self, content: bytes) -> bytes:
        reply = super()._reply(content)
        self.faults = iter([sim.silence] if set(self.poison) & set(self.asked[-1]) else [])
        return reply


@pytest.mark.parametrize("poison", [(84,), (60, 84), (99999, 1010)])
def test_a_poisonous_register_costs_only_itself(poison):
    meter = Poisoned()
    meter.poison = poison
    with meter:
        result = run(meter.port, "all", "--wait", 1, "--timeout", 0.5)
    assert result.code == 0
    assert ids(result.out) == sorted(set(meter.registers) - set(poison))
    lost = [register for register in poison if register in meter.registers]
    assert f"registers not read: {len(lost)} ({', '.join(map(str, lost))})" in result.err
    assert result.err.count("\n") == 1


def test_a_group_that_fails_is_tried_again():
    with sim.KmpMeter(faults=[sim.right, sim.bad_crc, sim.silence]) as meter:
        result = run(meter.port, "all")
        assert len(meter.asked) == 23
        assert meter.too_early == 0
    assert (result.code, result.err) == (0, "")
    assert ids(result.out) == sorted(meter.registers)


def test_all_of_a_silent_meter():
    with sim.KmpMeter(always=sim.silence) as meter:
        result = run(meter.port, "all", "--wait", 2, "--timeout", 0.5)
    assert result.code == 4
    assert "no answer from the meter" in result.one_line()
    assert result.seconds < 2 + 9 * (kr.KmpMeter.rest + 1) + SLACK


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_all_of_a_meter_that_falls_asleep(as_json):
    with sim.KmpMeter(faults=[sim.right] * 6, always=sim.silence) as meter:
        result = run(meter.port, "all", "--wait", 0, "--timeout", 0.3, *as_json)
    assert result.code == 0
    found = [row["register"] for row in json.loads(result.out)] if as_json else ids(result.out)
    assert found == [register for register in sorted(meter.registers) if register < 114]
    assert "registers not read" in result.err
    assert result.err.count("\n") == 1


def test_all_of_a_meter_that_is_unplugged():
    with sim.KmpMeter(faults=[sim.right] * 6, always=sim.unplug()) as meter:
        result = run(meter.port, "all")
    assert result.code == 0
    assert ids(result.out)
    assert "vanished" in result.err
    assert result.err.count("\n") == 1


def test_all_of_a_meter_that_has_none_of_them():
    with sim.KmpMeter({5000: (8, 0, b"\1")}) as meter:
        result = run(meter.port, "all")
    assert result.code == 6
    assert "none of the known registers" in result.one_line()


# --json


@pytest.mark.parametrize(
    ("register", "block", "text"),
    [
        (60, (8, 0x43, b"\x00\x00\x3f\x66"), '"value": 16.230, "unit": "GJ"'),
        (60, (10, 0xC2, b"\x00\x00\x30\x39"), '"value": -123.45, "unit": "kcal"'),
        (60, (40, 0x03, b"\xff"), '"value": 255000, "unit": "m3"'),
        (80, (22, 0x41, b"\x00"), '"value": 0.0, "unit": "kW"'),
        (1003, (48, 0, b"\x03\x5b\xd0"), '"value": "2022-01-12", "unit": null'),
        (1126, (54, 0, b'68"5\\2'), '"value": "68\\"5\\\\2", "unit": null'),
        (5000, (93, 0, b"\x07"), '"value": 7, "unit": "unit 93"'),
    ],
)
def test_json_of_one_register(register, block, text):
    with sim.KmpMeter({register: block}) as meter:
        result = run(meter.port, register, "--json")
    assert (result.code, result.err, result.out.count("\n")) == (0, "", 1)
    assert text in result.out
    read = json.loads(result.out)
    assert list(read) == ["register", "symbol", "description", "value", "unit"]
    symbol, _, description = kr.known_registers().get(register, ("", "", ""))
    assert (read["symbol"], read["description"]) == (symbol or None, description or None)


def test_json_of_all():
    with sim.KmpMeter() as meter:
        result = run(meter.port, "all", "--json")
    rows = json.loads(result.out)
    assert [row["register"] for row in rows] == sorted(meter.registers)
    assert rows[0] == {
        "register": 60, "symbol": "E1", "description": "Heat energy", "value": 16.235, "unit": "GJ",
    }  # fmt: skip


def test_json_leaves_errors_as_they_are():
    with sim.KmpMeter() as meter:
        result = run(meter.port, 61, "--json")
    assert result.code == 6
    assert result.one_line()


# --dry-run

GJ, M3, KWH, MWH, CELSIUS = "E1", "VA", "E3", "E4", "T1"
REGISTERS = {
    **sim.example(),
    63: (2, 0x43, b"\x00\x00\x3f\x6b"),  # 16.235 kWh
    61: (3, 0x43, b"\x00\x00\x3f\x6b"),  # 16.235 MWh
}


def dry_run(register, idx, *options, old=False, device=None):
    with sim.KmpMeter(REGISTERS) as meter, fake.FakeDomoticz(old=old) as domoticz:
        if device is not None:
            domoticz.devices[str(idx)].update(device)
        result = run(meter.port, register, idx, *options, "--dry-run", "--url", domoticz.url)
        assert domoticz.pushes == []
        assert not any("udevice" in request for request in domoticz.requests)
    lines = [line.split(None, 1) for line in result.out.splitlines()]
    return result, lines, [text for head, text in lines if head == "warning:"]


@pytest.mark.parametrize("old", [False, True], ids=["2025.1", "2022.2"])
def test_dry_run_shows_reading_push_and_device(old):
    result, lines, _ = dry_run(GJ, 12, "--multiply", 1000, old=old)
    assert (result.code, result.err) == (0, "")
    assert lines[0] == ["meter:", "16.235 GJ (register 60)"]
    assert lines[1][1].startswith("svalue 16235 to idx 12 at http://127.0.0.1:")
    assert lines[2] == ["device:", "Heating (RFXMeter, RFXMeter counter), now 16.201 GJ"]
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("register", "idx", "options"),
    [
        pytest.param(GJ, 12, ("--multiply", 1000), id="GJ to a Counter of GJ"),
        pytest.param(M3, 13, ("--multiply", 1000), id="m3 to Water"),
        pytest.param(KWH, 1, ("--multiply", 1000), id="kWh to Energy"),
        pytest.param(MWH, 1, ("--multiply", 1000000), id="MWh as Wh to Energy"),
        pytest.param(GJ, 1, ("--multiply", "277777.78", "--decimals", 0), id="GJ as Wh to Energy"),
        pytest.param(CELSIUS, 3, (), id="C to Temperature"),
        pytest.param("POWER1", 2, (), id="kW to a Custom Sensor"),
        pytest.param("FLOW1", 2, (), id="l/h to a Custom Sensor"),
    ],
)
def test_no_warning_where_value_and_device_fit(register, idx, options):
    result, _, warnings = dry_run(register, idx, *options, device={"Counter": "0.1"} if idx == 1 else None)
    assert (result.code, warnings) == (0, [])


@pytest.mark.parametrize(
    ("register", "idx", "options", "says"),
    [
        pytest.param(GJ, 12, (), ["integers", ": add --multiply 1000"], id="a Counter given decimals"),
        pytest.param(CELSIUS, 3, ("--multiply", 1000), ["would show 67250 for 67.25 C"], id="C times 1000"),
        pytest.param(
            GJ,
            1,
            ("--multiply", 1000),
            ["would show 16.235 kWh for 16.235 GJ", "Type Counter, unit GJ"],
            id="GJ to Energy",
        ),
        pytest.param(M3, 1, ("--multiply", 1000), ["147.307 kWh", "Type Water"], id="m3 to Energy"),
        pytest.param(MWH, 1, ("--multiply", 1000), ["16.235 kWh", "unit MWh"], id="MWh to Energy"),
        pytest.param(M3, 6, ("--multiply", 1000), ["1473.07 m3", "Divider 1000"], id="Water, divider 100"),
        pytest.param(
            M3,
            12,
            ("--multiply", 1000),
            ["147.307 GJ", "if idx 12 is the right one", "Type Water"],
            id="m3 to a Counter of GJ",
        ),
        pytest.param(GJ, 12, ("--multiply", 100), ["1.6235 GJ", "--multiply 1000"], id="wrong factor"),
        pytest.param(GJ, 8, ("--multiply", 1000), ["watt;watthour", "Counter"], id="Electric"),
        pytest.param(GJ, 9, (), ["no sensor for 16.235 GJ", "take a Counter"], id="Text"),
        pytest.param(GJ, 10, (), ["no sensor for 16.235 GJ", "take a Counter"], id="switch"),
        pytest.param(GJ, 7, ("--multiply", 1000), ["adds", "Counter"], id="Counter Incremental"),
        pytest.param(GJ, 3, (), ["no sensor for 16.235 GJ", "take a Counter"], id="GJ to Temperature"),
        pytest.param(M3, 2, (), ["no sensor for 147.307 m3", "Type Water"], id="m3 to a Custom Sensor"),
    ],
)
def test_warnings_say_what_is_wrong_and_what_to_change(register, idx, options, says):
    result, _, warnings = dry_run(register, idx, *options)
    assert result.code == 0
    assert len(warnings) >= 1
    for words in says:
        assert any(words in warning for warning in warnings)


def test_warning_when_the_counter_has_more():
    _, _, warnings = dry_run(GJ, 12, "--multiply", 1000, device={"Counter": "16.236 GJ"})
    assert len(warnings) == 1
    assert "more already (16.236 GJ)" in warnings[0]


@pytest.mark.parametrize(
    "device",
    [
        {"Divider": 0},
        {"Divider": "x", "Counter": None},
        {"Divider": None, "SwitchTypeVal": [1]},
        {"Type": None, "SubType": {}},
        {"Name": "\x1b[2J\nnew", "Data": 5},
        {"Divider": "NaN"},
        {"Divider": "1E-999999"},
        {"ValueUnits": 7},
        {"Divider": 10**400},
    ],
    ids=str,
)
def test_strange_devices_do_not_crash(device):
    result, lines, _ = dry_run(GJ, 12, "--multiply", 1000, device=device)
    assert (result.code, result.err) == (0, "")
    assert "\x1b" not in result.out
    assert lines[2][0] == "device:"


def test_names_that_the_terminal_can_not_show():
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        domoticz.devices["12"]["Name"] = "W\u00e4rme \u2192"
        env = {"PYTHONIOENCODING": "latin-1", "DOMOTICZ_URL": domoticz.url}
        command = [sys.executable, str(PROGRAM), meter.port, "60", "12", "--dry-run"]
        done = subprocess.run(command, env=environment(**env), capture_output=True, check=False)
    assert done.returncode == 0
    assert b"W\xe4rme \\u2192" in done.stdout


def test_a_password_that_begins_with_the_user_is_hidden_as_a_whole():
    domoticz = kr.Domoticz("http://127.0.0.1", 'adm"in', 'adm"in123')
    assert domoticz.scrub('adm"in123 adm\\"in123 adm"in') == "*** *** ***"


def test_secrets_in_a_device_are_not_shown():
    login = {"DOMOTICZ_USER": "someone", "DOMOTICZ_PASSWORD": 'hush "hush"'}
    users = {"someone": 'hush "hush"'}
    with sim.KmpMeter() as meter, fake.FakeDomoticz(users=users, plain_login=True) as domoticz:
        domoticz.devices["12"].update(Name="someone", Counter='9 hush "hush"')
        result = run(meter.port, 60, 12, "--dry-run", "-v", "--url", domoticz.url, env=login)
    assert result.code == 0
    assert "device:   *** (RFXMeter" in result.out
    assert "hush" not in result.out + result.err


@pytest.mark.parametrize("old", [False, True])
def test_dry_run_with_an_unknown_idx(old):
    result, lines, _ = dry_run(GJ, 99, "--multiply", 1000, old=old)
    assert result.code == 7
    assert "no sensor with idx 99" in result.err
    assert [head for head, _ in lines] == ["meter:", "push:"]
