"""Whether the stand-in for Domoticz answers as the real one did.

Each request of domoticz-answers.json and domoticz-sensors.json is sent again, in order; each
sensor of domoticz-looks.json shows the same of the same push. The other tests are of what the
records do not have.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import subprocess
import sys
from typing import Any

import fake_domoticz as fake
import pytest

USERS = {
    "viewer": fake.User("look", fake.VIEWER),
    "user": fake.User("use", fake.USER),
    "boss": fake.User("manage", fake.ADMIN),
    "umlaut": fake.User("p\u00e4ssword", fake.USER),
}
# This user was written into the database by hand: a password that is set in the web pages goes
# as Latin-1, and one with a euro sign can not work.
LEFT_OUT = (
    "[no trusted net, AllowPlainBasicAuth=0] password p\u00e4ssw\u00f6rd\u20ac as UTF-8, https"
)
NOT_COMPARED = ("ActTime", "LastUpdate", "ID")


def login(user: str, password: str, coding: str = "latin-1") -> dict[str, str]:
    token = base64.b64encode(user.encode() + b":" + password.encode(coding)).decode()
    return {"Authorization": f"Basic {token}"}


def get(port: int, target: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """HTTP status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", target, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()


def command(domoticz: fake.FakeDomoticz, query: str) -> dict[str, Any]:
    status, body = get(domoticz.port, f"/json.htm?type=command&param={query}")
    assert status == 200
    return json.loads(body)


# The records


def comparable(body: str) -> str:
    """The body without times and IDs; as text, because 1, 1.0 and True are equal otherwise."""
    if not body.startswith("{"):
        return body

    def kept(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in pairs if key not in NOT_COMPARED}

    return json.dumps(json.loads(body, object_pairs_hook=kept), sort_keys=True)


def headers_of(record: dict[str, Any]) -> dict[str, str]:
    """The login that was sent with a record's request."""
    what = record["what"]
    if not record.get("credentials", record.get("as") != "trusted"):
        return {}
    if "wrong password" in what:
        return login("boss", "wrong")
    if "sent as UTF-8" in what:
        return login("umlaut", USERS["umlaut"].password, "utf-8")
    user = record.get("as", "viewer" if "viewer (rights 0)" in what else "boss")
    return login(user, USERS[user].password)


def set_up(domoticz: fake.FakeDomoticz, record: dict[str, Any]) -> None:
    """Do what was done to the real one before this record's request."""
    what = record["what"]
    domoticz.https = record.get("https", "https" in what)
    domoticz.trusted = not what.startswith("[no trusted net")
    domoticz.plain_login = "AllowPlainBasicAuth=1" in what
    domoticz.webroot = "/domoticz" if what.startswith("-webroot domoticz") else ""
    if what == "getdevices after svalue=16235":  # that push itself is not recorded
        idx = record["request"].rpartition("=")[2]
        command(domoticz, f"udevice&idx={idx}&nvalue=0&svalue=16235")


@pytest.mark.parametrize("records", [fake.ANSWERS, fake.SENSORS], ids=["answers", "sensors"])
def test_answers_as_recorded(records):
    hardware = [fake.dummy_hardware(name="Dummy")] if records is fake.ANSWERS else []
    with fake.FakeDomoticz(USERS, hardware=hardware) as domoticz:
        if records is fake.SENSORS:
            domoticz.devices.clear()
        for record in records:
            if record["what"] != LEFT_OUT:
                set_up(domoticz, record)
                target = record["request"].removeprefix("GET ")
                status, body = get(domoticz.port, target, headers_of(record))
                assert status == record["status"], record["what"]
                assert comparable(body) == comparable(record["body"])


NO_READING = (  # what these show is no number, or not computed by the stand-in
    *("Incremental", "Electric", "Text", "Switch", "Percentage", "Pressure", "Counter Time"),
    *("Counter whose value can't be read ('12,34')", "Switch after svalue=16235: it was On"),
    *("Counter Custom GJ, divider 3.6", "no such sensor"),
)
COMPUTED = ("Data", "Counter", "Divider", "HardwareName", "HardwareTypeVal", "HardwareDisabled")


def svalue_of(device: fake.Device) -> str:
    """What was pushed to the sensor that shows this."""
    if "Temp" in device:
        return str(device["Temp"])
    shown = float(device["Data"].split()[0]) - device["AddjValue"]
    return str(round(shown * device["Divider"]) if "Divider" in device else shown)


@pytest.mark.parametrize(
    "what", [row["what"] for row in fake.LOOKS if row["what"] not in NO_READING]
)
def test_sensors_show_what_was_recorded(what):
    (device,) = fake.results(fake.LOOKS, what)
    idx = device["idx"]
    hardware = fake.dummy_hardware(
        str(device["HardwareID"]), device["HardwareName"], not device["HardwareDisabled"]
    )
    hardware["Type"] = device["HardwareTypeVal"]
    with fake.FakeDomoticz(hardware=[hardware]) as domoticz:
        domoticz.devices[idx] = {
            field: None if field in COMPUTED else value for field, value in device.items()
        }
        command(domoticz, f"udevice&idx={idx}&nvalue=0&svalue={svalue_of(device)}")
        look = command(domoticz, f"getdevices&rid={idx}&used=all&displaydisabled=1")
    assert look["result"] == [device]


# What is not in the records


def names(domoticz: fake.FakeDomoticz, query: str) -> list[str]:
    return [device["Name"] for device in command(domoticz, query).get("result", [])]


def test_sensors_that_are_not_listed():
    listing = "getdevices&filter=all&used=all"
    with fake.FakeDomoticz() as domoticz:
        domoticz.devices["12"]["Name"] = "$Heating"
        assert "$Heating" not in names(domoticz, listing)
        assert "$Heating" in names(domoticz, f"{listing}&displayhidden=1")
        assert names(domoticz, "getdevices&rid=12") == ["$Heating"]
        domoticz.hardware[0]["Enabled"] = "false"
        assert names(domoticz, listing) == []
        assert "Hot water" in names(domoticz, f"{listing}&displaydisabled=1")


def test_anything_is_stored():
    with fake.FakeDomoticz() as domoticz:
        for svalue in ("12,34", ""):
            assert command(domoticz, f"udevice&idx=12&nvalue=0&svalue={svalue}")["status"] == "OK"
            assert domoticz.devices["12"]["Data"] == f"0, {svalue}"
    assert domoticz.pushes == [("12", "12,34"), ("12", "")]


def test_program():
    """It prints its address and its sensors, then what is made and pushed."""
    words = [sys.executable, fake.__file__, "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as program:
        try:
            port = int(re.search(r"127\.0\.0\.1:(\d+)", program.stdout.readline()).group(1))
            call = "/json.htm?type=command&param="
            get(port, f"{call}createdevice&idx=2&sensorname=Heat&sensormappedtype=0x7100")
            get(port, f"{call}udevice&idx=14&nvalue=0&svalue=16235")
            lines = [program.stdout.readline() for _ in range(10)]
        finally:
            program.terminate()
    assert lines[0].split() == ["idx", "1", "Counter", "16.235", "kWh"]
    assert lines[8:] == ["made idx 14 Heat\n", "svalue 16235 to idx 14 Heat, now 16.235 kWh\n"]
