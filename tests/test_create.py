"""--create: the right sensor, made and filled with one command.

situation                                        test
------------------------------------------------ ---------------------------------------------
the sensor for each unit                         test_the_right_sensor_for_each_unit
both versions of the JSON API                    test_created_on_both_versions
hardware                                         test_hardware_...
names                                            test_any_text_..., test_a_name_...
no rights; failures half-way                     test_no_rights_..., test_what_fails_half_way_...
the line for cron                                test_cron_line_...
calls that make no sense                         test_wrong_calls
"""

from __future__ import annotations

import json
import re
import shlex
import urllib.parse

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from program import run

import kamstrup_read as kr

VALUE = b"\x00\x00\x3f\x6b"  # 16235
UNLESS = "(unless the call arrived all the same: look in Setup > Devices there)"


def only(call: str, trouble: fake.Trouble) -> fake.Trouble:
    """The trouble, with this call alone."""
    return lambda handler: f"param={call}" in handler.path and trouble(handler)


def create(domoticz, *arguments, name="Heating", register=60, registers=None, env=None):
    with sim.KmpMeter(registers) as meter:
        result = run(
            meter.port, register, "--create", name, "--url", domoticz.url, *arguments, env=env
        )
    return result._replace(out=result.out.replace(meter.port, "PORT"))


def made(domoticz) -> list[str]:
    """The calls that make or change something, by name."""
    calls = []
    for path in domoticz.requests:
        query = dict(urllib.parse.parse_qsl(path.partition("?")[2]))
        name = query.get("param") or query["type"]
        if name in ("addhardware", "createdevice", "setused", "udevice"):
            calls.append(name)
    return calls


@pytest.mark.parametrize("version", ["2025.1", "2022.2"])
def test_created_on_both_versions(version):
    with fake.FakeDomoticz(version=version) as domoticz:
        result = create(domoticz, name="New")
        device = domoticz.devices["17"]
        calls = made(domoticz)
        detected = [path for path in domoticz.requests if "param=gethardware" in path]
    result.printed(
        'created:  sensor 17 "New": Counter, Type Custom, unit GJ, Divider 1000',
        "pushed:   16235",
        f"in cron:  kamstrup_read.py PORT 60 17 --multiply 1000 --url {domoticz.url}",
    )
    assert calls == ["createdevice", "setused", "udevice"]
    assert (device["Name"], device["Data"]) == ("New", "16.235 GJ")
    assert (device["SwitchTypeVal"], device["ValueUnits"]) == (3, "GJ")
    assert float(device["Divider"]) == 1000
    if version == "2022.2":  # what it speaks is found out once
        assert len(detected) == 1


@pytest.mark.parametrize(
    ("block", "sensor", "pushed", "shown", "options"),
    [
        ((2, 0x43, VALUE), "Counter, Type Energy, Divider 1000", "16235", "16.235 kWh", "1000"),
        ((40, 0x43, VALUE), "Counter, Type Water, Divider 1000", "16235", "16.235 m3", "1000"),
        (
            (3, 0x43, VALUE),
            "Counter, Type Custom, unit MWh, Divider 1000",
            "16235",
            "16.235 MWh",
            "1000",
        ),
        (
            (12, 0x43, VALUE),
            "Counter, Type Custom, unit Gcal, Divider 1000",
            "16235",
            "16.235 Gcal",
            "1000",
        ),
        (
            (7, 0, VALUE),
            "Counter, Type Custom, unit MJ, Divider 1000",
            "16235000",
            "16235 MJ",
            "1000",
        ),
        (
            (1, 0, VALUE),
            "Counter, Type Custom, unit Wh, Divider 1000",
            "16235000",
            "16235 Wh",
            "1000",
        ),
        (
            (44, 0x43, VALUE),
            "Counter, Type Custom, unit ton, Divider 1000",
            "16235",
            "16.235 ton",
            "1000",
        ),
        ((37, 0x42, VALUE), "Temperature", "162.35", "162.3 C", ""),
        ((22, 0x41, b"\x40"), 'Custom Sensor, Axis Label "kW"', "6.4", "6.4 kW", ""),
        ((41, 0, b"\xe7"), 'Custom Sensor, Axis Label "l/h"', "231", "231 l/h", ""),
        ((51, 0, b"\x05"), 'Custom Sensor, Axis Label ""', "5", "5", ""),
        ((93, 0, b"\x05"), 'Custom Sensor, Axis Label "unit 93"', "5", "5 unit 93", ""),
        (
            (8, 0x45, VALUE),
            "Counter, Type Custom, unit GJ, Divider 1000",
            "162",
            "0.162 GJ",
            "1000 --decimals 0",
        ),
    ],
    ids=lambda what: what if isinstance(what, str) else "",
)
def test_the_right_sensor_for_each_unit(block, sensor, pushed, shown, options):
    with fake.FakeDomoticz() as domoticz:
        result = create(domoticz, name="New", registers={60: block})
        data = domoticz.devices["17"]["Data"].strip()
    factor = f" --multiply {options}" if options else ""
    result.printed(
        f'created:  sensor 17 "New": {sensor}',
        f"pushed:   {pushed}",
        f"in cron:  kamstrup_read.py PORT 60 17{factor} --url {domoticz.url}",
    )
    assert data == shown


def test_the_line_for_cron_pushes_to_the_new_sensor():
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        out = run(meter.port, "va", "--create", "Water", "--url", domoticz.url).out
        line = re.search("in cron:  kamstrup_read.py (.*)", out).group(1)
        run(*shlex.split(line)).printed()
        assert domoticz.pushes == [("17", "147307")] * 2


# Hardware


@pytest.mark.parametrize("version", ["2025.1", "2022.2"])
def test_hardware_is_made_where_there_is_none(version):
    with fake.FakeDomoticz(version=version, hardware=[]) as domoticz:
        assert create(domoticz, name="New").code == 0
        assert made(domoticz) == ["addhardware", "createdevice", "setused", "udevice"]
        assert [hardware["Name"] for hardware in domoticz.hardware] == ["Kamstrup"]


def test_hardware_that_is_enabled_is_used():
    hardware = [
        {**fake.dummy_hardware("2"), "Type": 94},
        fake.dummy_hardware("3", "Off", enabled=False),
        fake.dummy_hardware("4", "On"),
        fake.dummy_hardware("5", "On, too"),
    ]
    with fake.FakeDomoticz(hardware=hardware) as domoticz:
        assert create(domoticz, name="New").code == 0
        assert any("createdevice&idx=4&" in path for path in domoticz.requests)


# Names


@pytest.mark.parametrize(
    "name", ["W\u00e4rme", 'a "b" & c', "100 %", "x;y=z?#", "'", "\u2192 \u20ac"]
)
def test_any_text_is_a_name(name):
    with fake.FakeDomoticz() as domoticz:
        result = create(domoticz, name=name)
        assert domoticz.devices["17"]["Name"] == name
    assert result.code == 0
    assert result.out.startswith(f'created:  sensor 17 "{name}": ')


@pytest.mark.parametrize("name", ["Heating", " Heating ", "Heating\t"])
@pytest.mark.parametrize("version", ["2025.1", "2022.2"])
def test_a_name_that_is_taken_makes_nothing(name, version):
    with fake.FakeDomoticz(version=version) as domoticz:
        result = create(domoticz, name=name)
        assert made(domoticz) == []
    result.failed(7, "nothing was made: ", 'already has a sensor "Heating", idx 12')


@pytest.mark.parametrize("version", ["2025.1", "2022.2"])
def test_a_name_that_is_taken_by_a_sensor_that_does_not_show(version):
    with fake.FakeDomoticz(version=version) as domoticz:
        assert create(domoticz, name="$New").code == 0
        create(domoticz, name="$New").failed(7, 'already has a sensor "$New", idx 17')
        domoticz.hardware[0]["Enabled"] = "false"
        create(domoticz, name="Heating").failed(7, 'already has a sensor "Heating", idx 12')


def test_a_name_is_looked_for_in_a_long_list():
    with fake.FakeDomoticz() as domoticz:
        for number in range(100, 500):
            device = {
                **domoticz.devices["12"],
                "idx": str(number),
                "Name": f"Sensor {number}",
                "Description": "x" * 2000,
            }
            domoticz.devices[str(number)] = device
        create(domoticz, name="Sensor 499").failed(7, "nothing was made: ", "idx 499")
        assert create(domoticz, name="New").code == 0


def test_spaces_around_a_name_are_left_out():
    with fake.FakeDomoticz() as domoticz:
        assert create(domoticz, name="  New ").code == 0
        assert domoticz.devices["17"]["Name"] == "New"


# Rights and failures


@pytest.mark.parametrize("rights", [fake.VIEWER, fake.USER])
@pytest.mark.parametrize("hardware", [None, []], ids=["hardware there", "no hardware"])
def test_no_rights_make_nothing(rights, hardware):
    users = {"someone": fake.User("hush-hush", rights)}
    login = {"DOMOTICZ_USER": "someone", "DOMOTICZ_PASSWORD": "hush-hush"}
    with fake.FakeDomoticz(users=users, plain_login=True, hardware=hardware) as domoticz:
        before = dict(domoticz.devices)
        result = create(domoticz, name="New", env=login)
        assert domoticz.devices.keys() == before.keys()
    result.failed(7, "needs a user with Admin rights", "nothing was made")


def test_an_admin_with_a_login():
    users = {"boss": fake.User("hush-hush")}
    login = {"DOMOTICZ_USER": "boss", "DOMOTICZ_PASSWORD": "hush-hush"}
    with fake.FakeDomoticz(users=users, plain_login=True) as domoticz:
        result = create(domoticz, name="New", env=login)
    assert result.code == 0
    assert "hush" not in result.out


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("gethardware", ["nothing was made: ", "refused gethardware"]),
        ("getdevices", ["nothing was made: ", "refused getdevices"]),
        ("addhardware", ["nothing was made: ", "refused addhardware"]),
        ("createdevice", ['the Dummy hardware "Kamstrup" was made, but no sensor']),
        ("setused", ['sensor 17 "New" was made, but not set up', "Type Custom, unit GJ"]),
        ("udevice", ['sensor 17 "New" was made and set up, but has no value']),
    ],
)
def test_what_fails_half_way_is_reported(call, words):
    def trouble(handler: fake.Handler) -> bool:
        if f"param={call}" not in handler.path and f"type={call[3:]}" not in handler.path:
            return False
        return fake.answers(200, b'{"status":"ERR"}')(handler)

    with fake.FakeDomoticz(hardware=[], trouble=trouble) as domoticz:
        result = create(domoticz, name="New")
    result.failed(7, *words)


def test_an_idx_that_is_none():
    body = json.dumps({"status": "OK", "idx": "../1"}).encode()
    trouble = only("createdevice", fake.answers(200, body))
    with fake.FakeDomoticz(trouble=trouble) as domoticz:
        line = create(domoticz, name="New").failed(7, "nothing was made", "without a valid idx")
    assert UNLESS in line


@pytest.mark.parametrize("idx", ["\ud800", [1, "x"], None, 0, "2&x=1"])
def test_hardware_with_an_idx_that_is_none(idx):
    row = {"Type": 15, "Enabled": "true", "idx": idx}
    body = json.dumps({"status": "OK", "result": [row]}).encode()
    trouble = only("gethardware", fake.answers(200, body))
    with fake.FakeDomoticz(trouble=trouble) as domoticz:
        result = create(domoticz, name="New")
        assert made(domoticz) == []
    result.failed(7, "nothing was made: ", "sent an answer without a valid idx")


@pytest.mark.parametrize("call", ["gethardware", "getdevices"])
@pytest.mark.parametrize("rows", ['"x"', "{}", "null", '["x"]', "5"])
def test_a_list_that_makes_no_sense_makes_nothing(call, rows):
    body = f'{{"status":"OK","result":{rows}}}'.encode()
    with fake.FakeDomoticz(trouble=only(call, fake.answers(200, body))) as domoticz:
        result = create(domoticz, name="New")
        assert made(domoticz) == []
    result.failed(7, "nothing was made: ", "sent a list that makes no sense")


@pytest.mark.parametrize("answer", [None, fake.answers(500), fake.answers(200, b"<html>")])
@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("addhardware", "nothing was made"),
        ("createdevice", 'the Dummy hardware "Kamstrup" was made, but no sensor'),
        ("setused", "not set up (Counter, Type Custom, unit GJ, Divider 1000), and has no value"),
        ("udevice", "made and set up, but has no value"),
    ],
)
def test_what_is_carried_out_while_its_answer_is_lost(call, words, answer):
    """The program can't know, and says so."""

    def trouble(handler: fake.Handler) -> bool:
        if f"param={call}" not in handler.path:
            return False
        domoticz.respond(handler.path, None)
        return answer(handler) if answer else fake.breaks_off(handler)

    with fake.FakeDomoticz(hardware=[], trouble=trouble) as domoticz:
        create(domoticz, name="New").failed(7, f"{words} {UNLESS}")


@pytest.mark.parametrize("status", [408, 429, 499])
def test_a_status_that_is_no_refusal_is_not_certain(status):
    with fake.FakeDomoticz(trouble=only("createdevice", fake.answers(status))) as domoticz:
        create(domoticz, name="New").failed(7, f"nothing was made {UNLESS}")


def test_what_is_refused_is_certain():
    trouble = only("udevice", fake.answers(403))
    with fake.FakeDomoticz(hardware=[], trouble=trouble) as domoticz:
        line = create(domoticz, name="New").failed(7, "made and set up, but has no value")
    assert "unless" not in line


def test_a_silent_meter_makes_nothing():
    with sim.KmpMeter(always=sim.silence) as meter, fake.FakeDomoticz() as domoticz:
        result = run(meter.port, 60, "--create", "New", "--wait", 0, "--url", domoticz.url)
    result.failed(4, kr.NoResponseError.seen)
    assert domoticz.requests == []


@pytest.mark.parametrize("register", ["DATE", "CLOCK", "XDAY"])
def test_a_register_that_is_no_number(register):
    with fake.FakeDomoticz() as domoticz:
        create(domoticz, name="New", register=register).failed(2, "is not a number for a sensor")
        assert domoticz.requests == []


# The line for cron


def cron_line(*words: str, url: str = kr.DEFAULT_URL) -> str:
    args = kr.parse([*words, "--create", "New"])
    return kr.cron_line(args, url, 12, None, None)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["/dev/ttyUSB0", "60"], "/dev/ttyUSB0 60 12"),
        (["/dev/ttyUSB0", "e1"], "/dev/ttyUSB0 e1 12"),
        (["/dev/a b", "60"], "'/dev/a b' 60 12"),
        (["/dev/a%b", "60"], r"/dev/a\%b 60 12"),
        (["/dev/it's", "60"], """'/dev/it'"'"'s' 60 12"""),
        (["p", "60", "--protocol", "mc66"], "p 60 12 --protocol mc66"),
        (["p", "60", "--protocol", "kmp"], "p 60 12"),
        (["p", "60", "--baudrate", "9600"], "p 60 12 --baudrate 9600"),
        (["p", "60", "--wait", "30", "--timeout", "2.5"], "p 60 12 --wait 30 --timeout 2.5"),
        (["p", "60", "--wait", "0"], "p 60 12 --wait 0"),
        (["p", "60", "--wait", "12345.678"], "p 60 12 --wait 12345.678"),
        (["p", "60", "--wait", "0.00001"], "p 60 12 --wait 0.00001"),
        (["p", "60", "-v"], "p 60 12"),
    ],
)
def test_cron_line_repeats_what_was_given(words, line):
    assert cron_line(*words) == f"kamstrup_read.py {line}"


def test_cron_line_has_url_and_insecure():
    words = ["p", "60", "--insecure", "--url", "https://my.house/x"]
    line = cron_line(*words, url="https://my.house/x")
    assert line == "kamstrup_read.py p 60 12 --url https://my.house/x --insecure"


def test_cron_line_has_the_url_of_the_environment():
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        env = {"DOMOTICZ_URL": domoticz.url}
        out = run(meter.port, 60, "--create", "New", env=env).out
    assert out.endswith(f" --url {domoticz.url}\n")


# Calls that make no sense


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["p", "60", "12", "--create", "New"], "leave out IDX"),
        (["p", "all", "--create", "New"], "all can only be printed"),
        (["p", "60", "--create", ""], "needs a name"),
        (["p", "60", "--create", " \t"], "needs a name"),
        (["p", "60", "--create", "W\udce4rme"], "without control characters"),
        (["p", "60", "--create", "two\nlines"], "without control characters"),
        (["p", "60", "--create"], "--create"),
        (["p", "60", "--create", "New", "--multiply", "1000"], "--multiply does nothing"),
        (["p", "60", "--create", "New", "--decimals", "0"], "--decimals does nothing"),
        (["p", "60", "--create", "New", "--dry-run"], "--dry-run does not work"),
        (["p", "60", "--create", "New", "--json"], "--json does nothing with IDX or --create"),
        (["p", "60", "--create", "New", "--insecure"], "--insecure does nothing without https"),
        (["--list-registers", "--create", "New"], "--list-registers takes no PORT"),
    ],
    ids=lambda what: " ".join(what) if isinstance(what, list) else "",
)
def test_wrong_calls(arguments, words):
    run(*arguments).failed(2, words)
