"""--create: the right sensor, made and filled with one command.

situation                                      test
---------------------------------------------- -------------------------------------------------
the sensor for each unit, and its next push    test_the_next_reading_of_each_unit_is_shown
what is made for a unit                        test_what_is_made
lines as they are printed, and -v              test_prints_what_was_made_..., test_no_passwords_...
the line for cron                              test_the_line_for_cron_...
Dummy hardware: there, missing, disabled       test_hardware
names: any text, taken, hidden                 test_any_text_is_a_name, test_a_name_that_is_taken
refused or interrupted half-way                test_refused_half_way, test_interrupted_half_way
no rights; a meter or register without value   test_no_rights_..., test_nothing_is_made_without_...
"""

from __future__ import annotations

import base64
import shlex
import signal
import urllib.parse
from decimal import Decimal
from fractions import Fraction

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from program import Result, finish, start, wait_until

import kamstrup_read as kr


@pytest.fixture(scope="module")
def meter():
    """A meter whose register 60 is 16.235 GJ."""
    with sim.KmpMeter() as meter:
        yield meter


@pytest.fixture
def domoticz():
    with fake.FakeDomoticz() as domoticz:
        yield domoticz


@pytest.fixture
def create(capsys, meter):
    """Call main() to create a sensor for register 60."""

    def create_sensor(domoticz: fake.FakeDomoticz, *options: object, name: str = "New") -> Result:
        arguments = [meter.port, "60", "--create", name, "--url", domoticz.url, *options]
        code = kr.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Result(code, out, err, 0.0)

    return create_sensor


def calls(domoticz: fake.FakeDomoticz, name: str) -> list[dict[str, str]]:
    """The parameters of the requests with this name."""
    queries = (path.partition("?")[2] for path in domoticz.requests)
    params = (dict(urllib.parse.parse_qsl(query, keep_blank_values=True)) for query in queries)
    return [call for call in params if call["param"] == name]


UNITS = sorted({*kr.UNITS.values(), "unit 93"})
RATIOS = {"l": Fraction(1, 1000)}  # shown as m3
COUNTED = [
    unit for units, kind, *_ in kr.NEW_SENSORS if kind == kr.COUNTER for unit in units.split()
]


@pytest.mark.parametrize("decimals", range(7))
def test_the_next_reading_of_each_unit_is_shown(domoticz, decimals):
    """With all its digits, and in Domoticz's own words; Counters for each number of decimals."""
    program = kr.Domoticz(domoticz.url)
    domoticz.devices.clear()
    for unit in COUNTED if decimals != 1 else UNITS:
        first, later = (kr.Reading(60, Decimal(n).scaleb(-decimals), unit) for n in (5, 1234567))
        idx = program.create(f"in {unit}", first, lambda line: None)
        for reading in (first, later):
            device = program.look(idx)
            svalue = kr.svalue_for(reading, device)
            program.push(idx, svalue)
            shown = Fraction(svalue) / Fraction(device.get("Divider", 1))
            assert shown == Fraction(reading.value) * RATIOS.get(unit, 1)
            displayed = domoticz.devices[idx]["Data"].partition(" ")
            assert float(displayed[0]) == pytest.approx(float(shown), rel=1e-5, abs=6e-4)
            assert displayed[2] == {"l": "m3"}.get(unit, unit)
        domoticz.devices.clear()


COUNTER, TEMPERATURE, CUSTOM_SENSOR = "0x7100", "0x5005", "0xF31F"
MADE = {  # a reading; its sensor's kind, and unit or Type, Divider and label of the graph
    "16.235 GJ": (COUNTER, "3", "1000", "ValueQuantity:Energy (GJ);ValueUnits:GJ;"),
    "16 GJ": (COUNTER, "3", "1000", "ValueQuantity:Energy (GJ);ValueUnits:GJ;"),
    "1.6235 MWh": (COUNTER, "3", "10000", "ValueQuantity:Energy (MWh);ValueUnits:MWh;"),
    "3.5 cal": (COUNTER, "3", "1000", "ValueQuantity:Energy (cal);ValueUnits:cal;"),
    "3.5 ton": (COUNTER, "3", "1000", "ValueQuantity:Mass (ton);ValueUnits:ton;"),
    "3.5 kWh": (COUNTER, "0", "1000", ""),
    "147.307 m3": (COUNTER, "2", "1000", ""),
    "147 l": (COUNTER, "2", "1000", ""),
    "147.1 l": (COUNTER, "2", "10000", ""),
    "67.25 C": (TEMPERATURE, ""),
    "6.4 kW": (CUSTOM_SENSOR, "1;kW"),
    "5": (CUSTOM_SENSOR, "1;"),
    "5 unit 93": (CUSTOM_SENSOR, "1;unit 93"),
}


@pytest.mark.parametrize("text", MADE)
def test_what_is_made(domoticz, text):
    mapped_type, *settings = MADE[text]
    value, _, unit = text.partition(" ")
    reading = kr.Reading(60, Decimal(value), unit)
    assert kr.Domoticz(domoticz.url).create("New", reading, lambda line: None) == "14"
    (made,) = calls(domoticz, "createdevice")
    assert (made["idx"], made["sensorname"], made["sensormappedtype"]) == ("2", "New", mapped_type)
    if mapped_type != COUNTER:
        assert [made["sensoroptions"]] == settings
        assert calls(domoticz, "setused") == []
        return
    (set_up,) = calls(domoticz, "setused")
    options = base64.b64decode(set_up["options"]).decode()
    assert [set_up["switchtype"], set_up["addjvalue2"], options] == settings
    assert (set_up["idx"], set_up["used"], set_up["addjvalue"]) == ("14", "true", "0")
    assert domoticz.devices["14"]["Name"] == "New"


def test_prints_what_was_made_what_was_pushed_and_what_goes_into_the_crontab(create, domoticz):
    create(domoticz, name="  New ").printed(
        'created:  sensor 14 "New" (Counter)',
        "set up:   shows GJ, Counter Divider 1000",
        "pushed:   16235",
        f"in cron:  60 14 --url {domoticz.url}",
    )
    assert domoticz.devices["14"]["Data"] == "16.235 GJ"
    assert domoticz.pushes == [("14", "16235")]


@pytest.mark.parametrize(
    ("register", "options", "line"),
    [
        ("60", [], "60 14"),
        ("e-1", ["--wait", "12", "--timeout", "2.5"], "e-1 14 --wait 12 --timeout 2.5"),
        ("0x3c", ["--baudrate", "1200", "--protocol", "kmp"], "0x3c 14 --baudrate 1200"),
        ("60", ["--wait", "0", "--insecure", "-v"], "60 14 --wait 0"),
    ],
)
@pytest.mark.parametrize("by", ["option", "environment"])
def test_the_line_for_cron_has_what_a_push_needs(
    capsys, monkeypatch, meter, domoticz, register, options, line, by
):
    """The options that were given, and --url, wherever it came from; it pushes as it is."""
    monkeypatch.setenv("DOMOTICZ_URL", domoticz.url if by == "environment" else "http://x")
    url = ["--url", domoticz.url] if by == "option" else []
    assert kr.main([meter.port, register, *options, *url, "--create", "New"]) == 0
    words = capsys.readouterr().out.splitlines()[-1].partition("in cron:  ")[2]
    insecure = " --insecure" if "--insecure" in options else ""
    assert words == f"{line} --url {domoticz.url}{insecure}"
    monkeypatch.delenv("DOMOTICZ_URL")
    assert kr.main([meter.port, *shlex.split(words)]) == 0
    assert domoticz.pushes == [("14", "16235")] * 2


@pytest.mark.parametrize("options", ["", " --protocol mc66"])
def test_the_line_for_cron_names_the_protocol_and_not_the_default_url(options):
    words = ["PORT", "60", *options.split(), "--create", "New", "--url", kr.DEFAULT_URL]
    assert kr.cron_words(kr.parse(words), "14") == f"60 14{options}"


def test_no_passwords_of_other_hardware_in_verbose(create):
    hardware = [{**fake.dummy_hardware(), "Username": "someone", "Password": "hunter2"}]
    with fake.FakeDomoticz(hardware=hardware) as domoticz:
        result = create(domoticz, "-v")
    assert result.code == 0
    assert "param=gethardware" in result.err
    assert "hunter2" not in result.err
    assert "someone" not in result.err


OTHER = {**fake.dummy_hardware("2"), "Type": 94}
DISABLED = fake.dummy_hardware("3", "Off", enabled=False)
ENABLED = fake.dummy_hardware("4", "On")


@pytest.mark.parametrize(
    ("hardware", "used", "is_made"),
    [
        ([OTHER, DISABLED, ENABLED, fake.dummy_hardware("5", "On, too")], "4", False),
        ([], "2", True),
    ],
    ids=["enabled", "none at all"],
)
def test_hardware(create, hardware, used, is_made):
    with fake.FakeDomoticz(hardware=hardware) as domoticz:
        result = create(domoticz)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith('created:  hardware "Kamstrup" (Dummy)\n') == is_made
    assert str(domoticz.devices["14"]["HardwareID"]) == used
    assert domoticz.devices["14"]["Data"] == "16.235 GJ"
    if is_made:
        (made,) = domoticz.hardware[len(hardware) :]
        assert (made["Name"], made["Type"], made["Enabled"]) == ("Kamstrup", 15, "true")


@pytest.mark.parametrize("name", ["W\u00e4rme \u20ac", '100 % "b" & c', "x;y=z?#+"])
def test_any_text_is_a_name(create, domoticz, name):
    result = create(domoticz, name=name)
    assert result.code == 0
    assert result.out.startswith(f'created:  sensor 14 "{name}" ')
    assert domoticz.devices["14"]["Name"] == name


@pytest.mark.parametrize("case", ["plain", "blanks", "hidden", "disabled"])
def test_a_name_that_is_taken(create, domoticz, case):
    """Also by a sensor that Domoticz does not show; nothing is made."""
    if case == "hidden":
        domoticz.devices["12"]["Name"] = "$Heating"
    if case == "disabled":
        domoticz.hardware[0]["Enabled"] = "false"
    name = domoticz.devices["12"]["Name"]
    result = create(domoticz, name=f" {name} " if case == "blanks" else name)
    result.failed(7, f'already has a sensor "{name}", idx 12: push to it with 60 12')
    assert len(domoticz.requests) == 1


def test_a_name_is_found_in_a_long_list(create, domoticz):
    for number in range(100, 500):
        device = {**domoticz.devices["12"], "Name": f"Sensor {number}", "Description": "x" * 2000}
        domoticz.devices[str(number)] = {**device, "idx": str(number)}
    create(domoticz, name="Sensor 499").failed(7, "idx 499")


HALF_WAY = {  # the call; what was printed before it, a line each; words of the message
    "getdevices&filter": (0, "older than 2023.2"),
    "gethardware": (0, "hardware"),
    "addhardware": (0, "added no hardware"),
    "createdevice": (1, "did not make the sensor"),
    "setused": (2, "did not set up the sensor"),
    "getdevices&rid": (3, "older than 2023.2"),
    "udevice": (3, "has no sensor 14"),
}
LINES = [
    'created:  hardware "Kamstrup" (Dummy)',
    'created:  sensor 14 "New" (Counter)',
    "set up:   shows GJ, Counter Divider 1000",
]


@pytest.mark.parametrize("call", HALF_WAY)
def test_refused_half_way(create, call):
    """What was printed says how far it came."""
    printed, words = HALF_WAY[call]
    trouble = fake.only(call, fake.answers(200, fake.ERR[1]))
    with fake.FakeDomoticz(hardware=[], trouble=trouble) as domoticz:
        result = create(domoticz)
    assert result.out.splitlines() == LINES[:printed]
    result._replace(out="").failed(7, "register 60: Domoticz at ", words)
    assert domoticz.pushes == []


@pytest.mark.parametrize("call", ["setused", "getdevices&rid", "udevice"])
def test_interrupted_half_way(meter, call):
    """By Ctrl-C in a slow call: what was made has been printed."""
    with fake.FakeDomoticz(hardware=[], trouble=fake.only(call, fake.hangs)) as domoticz:
        job = start(meter.port, 60, "--create", "New", "--url", domoticz.url)
        wait_until(lambda: any(f"param={call}" in path for path in domoticz.requests))
        job.send_signal(signal.SIGINT)
        result = finish(job)
    assert (result.code, result.err) == (130, "")
    assert result.out.splitlines() == LINES[: HALF_WAY[call][0]]


@pytest.mark.parametrize("hardware", [[fake.dummy_hardware()], []], ids=["hardware", "none"])
def test_no_rights_make_nothing(create, monkeypatch, hardware):
    monkeypatch.setenv("DOMOTICZ_USER", "someone")
    monkeypatch.setenv("DOMOTICZ_PASSWORD", "hush")
    users = {"someone": fake.User("hush", fake.USER)}
    with fake.FakeDomoticz(users, plain_login=True, hardware=hardware) as domoticz:
        create(domoticz).failed(7, "needs the rights of an Admin", "(HTTP 403)")
    assert "14" not in domoticz.devices
    assert domoticz.hardware == hardware


@pytest.mark.parametrize(("register", "code"), [(61, 6), (1003, 2)])
def test_nothing_is_made_without_a_number_from_the_meter(capsys, meter, domoticz, register, code):
    arguments = [meter.port, str(register), "--create", "New", "--url", domoticz.url]
    assert kr.main(arguments) == code
    assert capsys.readouterr().out == ""
    assert domoticz.requests == []
