"""--dry-run: what would be pushed, what Domoticz would show, and what would be wrong with it.

situation                                        test
------------------------------------------------ ---------------------------------------------
reading, push, sensor, what it shows             test_shows_...
sensors that show the reading                    test_no_warning_where_...
wrong unit, scale, kind of sensor, decimals      test_warnings_name_a_cure
a counter that has more                          test_a_negative_use_...
sensors that nobody would expect                 test_strange_sensors_...
"""

from __future__ import annotations

from decimal import Decimal

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from program import run

import kamstrup_read as kr

COUNTER = {"Type": "RFXMeter", "SubType": "RFXMeter counter", "Divider": 1000.0, "AddjValue": 0.0}
ENERGY = {**COUNTER, "SwitchTypeVal": 0, "Data": "16.235 kWh"}
WATER = {**COUNTER, "SwitchTypeVal": 2, "Data": "147.100 m3"}
GJ_COUNTER = {**COUNTER, "SwitchTypeVal": 3, "ValueUnits": "GJ", "Data": "16.201 GJ"}
TIME_COUNTER = {**COUNTER, "SwitchTypeVal": 5, "Data": "?"}
GENERATED = {**COUNTER, "SwitchTypeVal": 4, "Data": "0 kWh"}
GAS = {**COUNTER, "SwitchTypeVal": 1, "Divider": 100.0, "Data": "0 m3"}
TEMPERATURE = {"Type": "Temp", "SubType": "LaCrosse TX3", "AddjValue": 0.0, "Data": "20.0 C"}
INCREMENTAL = {"Type": "General", "SubType": "Counter Incremental", "Data": "0.000 kWh"}
ELECTRIC = {"Type": "General", "SubType": "kWh", "Data": "0, 16235"}
SWITCH = {"Type": "Light/Switch", "SubType": "Switch", "Data": "Off"}
TEXT = {"Type": "General", "SubType": "Text", "Data": "Hello"}


def custom_sensor(unit: str) -> dict:
    return {"Type": "General", "SubType": "Custom Sensor", "SensorUnit": unit, "Data": f"0 {unit}"}


def check(text: str, device: dict, multiply: str = "", decimals: int | None = None):
    """What the device would show of a reading such as "16.235 GJ", and the warnings."""
    value, _, unit = text.partition(" ")
    reading = kr.Reading(60, Decimal(value), unit)
    factor = Decimal(multiply) if multiply else None
    svalue = kr.svalue_of(reading.value, factor, decimals)
    display = kr.display_of(device, svalue)
    shown = display.text if display else ""
    return shown, list(kr.warnings_about(reading, factor, svalue, device, display))


@pytest.mark.parametrize("version", ["2025.1", "2022.2"])
def test_shows_reading_push_sensor_and_display(version):
    with sim.KmpMeter() as meter, fake.FakeDomoticz(version=version) as domoticz:
        result = run(meter.port, 60, 12, "--multiply", 1000, "--dry-run", "--url", domoticz.url)
        pushes = domoticz.pushes
        requests = domoticz.requests
    result.printed(
        "meter:    16.235 GJ (register 60)",
        f"push:     svalue 16235 to idx 12 at {domoticz.url}",
        "sensor:   Heating (RFXMeter, RFXMeter counter), now 16.201 GJ",
        "shows:    16.235 GJ",
    )
    assert pushes == []
    assert not any("udevice" in request for request in requests)


@pytest.mark.parametrize("version", ["2025.1", "2022.2"])
def test_an_unknown_idx(version):
    with sim.KmpMeter() as meter, fake.FakeDomoticz(version=version) as domoticz:
        result = run(meter.port, 60, 99, "--dry-run", "--url", domoticz.url)
    assert result.code == 7
    assert "no sensor with idx 99" in result.err
    assert result.out.startswith("meter:")


def test_what_it_can_not_know_is_said_to_who_has_a_login():
    users = {"viewer": fake.User("hush-hush", fake.VIEWER)}
    login = {"DOMOTICZ_USER": "viewer", "DOMOTICZ_PASSWORD": "hush-hush"}
    with sim.KmpMeter() as meter, fake.FakeDomoticz(users=users, plain_login=True) as domoticz:
        options = ["--multiply", 1000, "--url", domoticz.url]
        looked = run(meter.port, 60, 12, *options, "--dry-run", env=login)
        run(meter.port, 60, 12, *options, env=login).failed(7, "may only view")
    assert looked.code == 0
    assert looked.out.splitlines()[-1].startswith("note:     only a push shows")
    assert "hush" not in looked.out


@pytest.mark.parametrize(
    ("reading", "device", "options", "shown"),
    [
        pytest.param("16.235 GJ", GJ_COUNTER, ("1000",), "16.235 GJ", id="GJ"),
        pytest.param("147.307 m3", WATER, ("1000",), "147.307 m3", id="m3 to Water"),
        pytest.param("147.307 m3", GAS, ("100", 0), "147.310 m3", id="m3 to Gas, divider 100"),
        pytest.param("20.5 kWh", ENERGY, ("1000",), "20.500 kWh", id="kWh to Energy"),
        pytest.param("20.5 kWh", GENERATED, ("1000",), "20.500 kWh", id="kWh to Energy Generated"),
        pytest.param("20500 Wh", ENERGY, ("1",), "20.500 kWh", id="Wh to Energy"),
        pytest.param("16.235 MWh", ENERGY, ("1000000",), "16235.000 kWh", id="MWh to Energy"),
        pytest.param("16.2 GJ", ENERGY, ("277777.78", 0), "4500.000 kWh", id="GJ to Energy"),
        pytest.param("3 Gcal", ENERGY, ("1163000",), "3489.000 kWh", id="Gcal to Energy"),
        pytest.param("67.25 C", TEMPERATURE, (), "67.2 C", id="C"),
        pytest.param("67.25 C", TEMPERATURE, ("", 1), "67.2 C", id="C with a decimal"),
        pytest.param("67.25 C", {**TEMPERATURE, "Data": "68.0 F"}, (), "67.2 C", id="C shown as F"),
        pytest.param("67.25 C", custom_sensor("\u00b0C"), (), "67.25 \u00b0C", id="C to Custom"),
        pytest.param("6.4 kW", custom_sensor("kW"), (), "6.4 kW", id="kW"),
        pytest.param("6.4 kW", custom_sensor("W"), ("1000",), "6400 W", id="kW to W"),
        pytest.param("231 l/h", custom_sensor("l/h"), (), "231 l/h", id="l/h"),
        pytest.param("0.231 m3/h", custom_sensor("l/h"), ("1000",), "231 l/h", id="m3/h to l/h"),
        pytest.param("5 l", custom_sensor("liter"), (), "5 liter", id="liter is l"),
        pytest.param("5", custom_sensor(""), (), "5", id="a plain number"),
        pytest.param("7 unit 93", custom_sensor("unit 93"), (), "7 unit 93", id="unknown unit"),
        pytest.param(
            "16.235 GJ", {**GJ_COUNTER, "Data": "9 Gj"}, ("1000",), "16.235 Gj", id="Gj is GJ"
        ),
        pytest.param(
            "147.307 m3",
            {**COUNTER, "SwitchTypeVal": 3, "Data": "1 m\u00b3"},
            ("1000",),
            "147.307 m\u00b3",
            id="m\u00b3 is m3",
        ),
        pytest.param(
            "16.235 GJ",
            {**GJ_COUNTER, "AddjValue": 100.0, "Data": "116.201 GJ"},
            ("1000",),
            "116.235 GJ",
            id="Meter Offset",
        ),
    ],
)
def test_no_warning_where_the_sensor_shows_the_reading(reading, device, options, shown):
    assert check(reading, device, *options) == (shown, [])


@pytest.mark.parametrize(
    ("reading", "device", "options", "words"),
    [
        pytest.param(
            "16.235 GJ",
            ENERGY,
            ("1000",),
            ["16.235 kWh for 16.235 GJ", "Type Custom, unit GJ, Divider 1000", "1000"],
            id="GJ to Energy",
        ),
        pytest.param(
            "147.307 m3",
            ENERGY,
            ("1000",),
            [
                "147.307 kWh for 147.307 m3",
                "if this is the right sensor, make it a Counter, Type Water",
            ],
            id="m3 to Energy",
        ),
        pytest.param(
            "16.235 MWh", ENERGY, ("1000",), ["16.235 kWh", "unit MWh"], id="MWh to Energy"
        ),
        pytest.param(
            "16.235 GJ", GJ_COUNTER, (), ["0.016235 GJ", ": give --multiply 1000"], id="no factor"
        ),
        pytest.param(
            "16.235 GJ", GJ_COUNTER, ("100",), ["1.6235 GJ", "give --multiply 1000"], id="x 100"
        ),
        pytest.param(
            "147.307 m3",
            {**WATER, "Divider": 100.0},
            ("1000",),
            ["1473.070 m3", "make it a Counter, Type Water, Divider 1000"],
            id="Water as it is made",
        ),
        pytest.param(
            "1.23456 GJ", {**GJ_COUNTER, "Data": "1"}, ("1000",), ["--decimals 0"], id="decimals"
        ),
        pytest.param(
            "67.25 C", TEMPERATURE, ("1000",), ["67250.0 C", "give --multiply 1"], id="C x 1000"
        ),
        pytest.param(
            "6.4 kW",
            custom_sensor("W"),
            (),
            ["6.4 W for 6.4 kW: give --multiply 1000"],
            id="kW to W",
        ),
        pytest.param("16.235 GJ", TEMPERATURE, (), ["16.2 C", "make a Counter"], id="GJ to C"),
        pytest.param(
            "67.25 C", ENERGY, ("1000",), ["67.250 kWh", "make a Temperature"], id="C to Counter"
        ),
        pytest.param(
            "6.4 kW",
            GJ_COUNTER,
            ("1000",),
            ['make a Custom Sensor, Axis Label "kW"'],
            id="kW to GJ",
        ),
        pytest.param(
            "16.235 GJ",
            custom_sensor("GJ"),
            (),
            ["does not show consumption per day", "make a Counter"],
            id="Custom",
        ),
        pytest.param("16.235 GJ", INCREMENTAL, ("1000",), ["adds every value"], id="Incremental"),
        pytest.param("16.235 GJ", ELECTRIC, ("1000",), ["watt;watthour"], id="Electric"),
        pytest.param("16.235 GJ", SWITCH, (), ["ignores numbers"], id="Switch"),
        pytest.param("16.235 GJ", TEXT, (), ["does not show 16.235 GJ"], id="Text"),
        pytest.param("16.235 GJ", TIME_COUNTER, ("1000",), ["does not show"], id="Type Time"),
        pytest.param("4 h", ENERGY, ("1000",), ["make a Custom Sensor"], id="h to Energy"),
        pytest.param("4 ton", ENERGY, ("1000",), ["unit ton, Divider 1000"], id="ton to Energy"),
    ],
)
def test_warnings_name_a_cure_and_come_once(reading, device, options, words):
    _, warnings = check(reading, device, *options)
    assert len(warnings) == 1
    for word in words:
        assert word in warnings[0]


@pytest.mark.parametrize(
    ("reading", "device", "options", "is_negative"),
    [
        pytest.param("16.2 GJ", GJ_COUNTER, ("1000",), True, id="less than before"),
        pytest.param("16.201 GJ", GJ_COUNTER, ("1000",), False, id="the same again"),
        pytest.param(
            "147.307 m3",
            {**GAS, "Data": "147.310 m3"},
            ("100", 0),
            False,
            id="the same, rounded",
        ),
        pytest.param(
            "16.0 GJ",
            {**GJ_COUNTER, "AddjValue": -10.0, "Data": "6.235 GJ"},
            ("1000",),
            True,
            id="less, with a negative offset",
        ),
    ],
)
def test_a_negative_use_is_warned_of(reading, device, options, is_negative):
    _, warnings = check(reading, device, *options)
    assert ["negative" in warning for warning in warnings] == [True] * is_negative


@pytest.mark.parametrize(
    "changes",
    [
        {"Divider": 0},
        {"Divider": "x", "Data": None},
        {"Divider": None, "SwitchTypeVal": [1]},
        {"SwitchTypeVal": 77},
        {"Type": None, "SubType": {}},
        {"Name": "\x1b[2J\nnew", "Data": 5},
        {"Divider": "NaN"},
        {"AddjValue": "NaN"},
        {"Divider": "1E-999999"},
        {"Data": "many GJ"},
        {"Data": "NaN GJ"},
        {"Divider": 10**400},
        {"AddjValue": [1]},
    ],
    ids=str,
)
def test_strange_sensors_do_not_crash(changes):
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        domoticz.devices["12"].update(changes)
        result = run(meter.port, 60, 12, "--multiply", 1000, "--dry-run", "--url", domoticz.url)
    assert (result.code, result.err) == (0, "")
    assert "\x1b" not in result.out
    assert result.out.splitlines()[2].startswith("sensor:")
    assert "shows:    nan" not in result.out


def test_a_sensor_of_hardware_that_is_disabled():
    """It takes what is pushed, so that there is something to show."""
    hardware = [fake.dummy_hardware(enabled=False)]
    with sim.KmpMeter() as meter, fake.FakeDomoticz(hardware=hardware) as domoticz:
        result = run(meter.port, 60, 12, "--multiply", 1000, "--dry-run", "--url", domoticz.url)
    assert "shows:    16.235 GJ\n" in result.out


def test_secrets_in_a_sensor_are_not_shown():
    login = {"DOMOTICZ_USER": "someone", "DOMOTICZ_PASSWORD": 'hush "hush"'}
    users = {"someone": fake.User('hush "hush"')}
    with sim.KmpMeter() as meter, fake.FakeDomoticz(users=users, plain_login=True) as domoticz:
        domoticz.devices["12"].update(Name="someone", Data='9 hush "hush"')
        result = run(meter.port, 60, 12, "--dry-run", "-v", "--url", domoticz.url, env=login)
    assert result.code == 0
    assert "sensor:   *** (RFXMeter" in result.out
    assert "shows:    0.016235 ***" in result.out
    assert "hush" not in result.out + result.err
