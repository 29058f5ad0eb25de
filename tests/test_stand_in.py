"""Whether the stand-in for Domoticz answers as the real one did.

Each request of domoticz-answers.json and domoticz-sensors.json is sent again, in order; the
other tests are of what the records do not have.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.client
import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import fake_domoticz as fake
import pytest

USERS = {
    "viewer": fake.User("look", fake.VIEWER),
    "user": fake.User("use", fake.USER),
    "boss": fake.User("manage", fake.ADMIN),
    "umlaut": fake.User("p\u00e4ssword", fake.USER),
    "euro": fake.User("5\u20ac", fake.USER),
    "b\u00e4r": fake.User("honey", fake.USER),
    "tenant": fake.User("limited", fake.USER, only=[12]),
}

TIMES = ("ActTime", "LastUpdate")

# This user was written into the database by hand: a password that is set in the web pages goes
# as Latin-1, and one with a euro sign can not work.
LEFT_OUT = (
    "[no trusted net, AllowPlainBasicAuth=0] password p\u00e4ssw\u00f6rd\u20ac as UTF-8, https"
)


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def login(user: str, password: str, coding: str = "latin-1") -> dict[str, str]:
    token = base64.b64encode(user.encode() + b":" + password.encode(coding)).decode()
    return {"Authorization": f"Basic {token}"}


def as_user(name: str) -> dict[str, str]:
    return login(name, USERS[name].password)


def get(port: int, target: str, headers: dict[str, str] | None = None) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", target, headers=headers or {})
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())


def command(port: int, query: str, user: str = "") -> Reply:
    target = f"/json.htm?type=command&param={query}"
    return get(port, target, as_user(user) if user else None)


# The records


def comparable(body: str) -> str:
    """The body without times; as text, because 1, 1.0 and True are equal otherwise."""
    if not body.startswith("{"):
        return body

    def without_times(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: type(value).__name__ if key in TIMES else value for key, value in pairs}

    return json.dumps(json.loads(body, object_pairs_hook=without_times), sort_keys=True)


def headers_of(record: dict[str, Any]) -> dict[str, str]:
    """The login that was sent with a record's request."""
    what = record["what"]
    if not record.get("credentials", record.get("as") != "trusted"):
        return {}
    if "wrong password" in what:
        return login("boss", "wrong")
    if "sent as UTF-8" in what:
        return login("umlaut", USERS["umlaut"].password, "utf-8")
    viewer = "viewer (rights 0)" in what
    return as_user(record.get("as", "viewer" if viewer else "boss"))


def set_up(domoticz: fake.FakeDomoticz, record: dict[str, Any]) -> None:
    """Do what was done to the real one before this record's request."""
    what = record["what"]
    domoticz.https = record.get("https", "https" in what)
    domoticz.trusted = not what.startswith("[no trusted net")
    domoticz.plain_login = "AllowPlainBasicAuth=1" in what
    domoticz.webroot = "/domoticz" if what.startswith("-webroot domoticz") else ""
    if what == "getdevices after svalue=16235":  # that push itself is not recorded
        idx = record["request"].rpartition("=")[2]
        command(domoticz.port, f"udevice&idx={idx}&nvalue=0&svalue=16235")


def check(domoticz: fake.FakeDomoticz, record: dict[str, Any]) -> None:
    set_up(domoticz, record)
    target = record["request"].removeprefix("GET ")
    reply = get(domoticz.port, target, headers_of(record))
    assert reply.status == record["status"]
    assert f"Content-Type: {reply.headers['Content-Type']}" in record["headers"]
    assert comparable(reply.body.decode()) == comparable(record["body"])


def test_answers_as_recorded():
    compared = 0
    with fake.FakeDomoticz(USERS, hardware=[fake.dummy_hardware(name="Dummy")]) as domoticz:
        for record in fake.ANSWERS:
            if record["what"] != LEFT_OUT:
                check(domoticz, record)
                compared += 1
    assert compared == len(fake.ANSWERS) - 1 == 24


@pytest.mark.parametrize(("version", "count"), [("2025.1", 67), ("2022.2", 51)])
def test_sensors_as_recorded(version, count):
    compared = 0
    with fake.FakeDomoticz(USERS, version=version, hardware=[]) as domoticz:
        domoticz.devices.clear()
        for record in fake.SENSORS:
            if record["version"] == version:
                check(domoticz, record)
                compared += 1
    assert compared == count


def test_every_record_was_compared():
    assert len(fake.SENSORS) == 67 + 51


# What is not in the records


@pytest.fixture
def domoticz() -> Iterator[fake.FakeDomoticz]:
    with fake.FakeDomoticz(USERS, trusted=True, plain_login=True) as domoticz:
        yield domoticz


def shown(domoticz: fake.FakeDomoticz, idx: int, svalue: str) -> str:
    assert (
        command(domoticz.port, f"udevice&idx={idx}&nvalue=0&svalue={svalue}").json["status"] == "OK"
    )
    return command(domoticz.port, f"getdevices&rid={idx}").json["result"][0]["Data"]


@pytest.mark.parametrize(
    ("idx", "svalue", "data"),
    [
        (1, "16235000", "16235.000 kWh"),
        (2, "1234567.8", "1.23457e+06 GJ"),
        (3, "67.25", "67.2 C"),
        (4, "16235", "16.235 GJ"),
        (5, "147307", "147.307 m3"),
        (6, "147307", "1473.070 m3"),
        (7, "16235", "32.470 kWh"),
        (8, "500;16235", "16.235 kWh"),
        (9, "12,34", "12,34"),
        (10, "16235", "Off"),
        (11, "16235", "?"),
        (12, "16235", "16.235 GJ"),
        (13, "147307", "147.307 m3"),
        (14, "16.235", "16.235 GJ"),
        (15, "16235", "16235 W"),
        (16, "abc", "0%"),
    ],
)
def test_what_a_sensor_shows(domoticz, idx, svalue, data):
    assert shown(domoticz, idx, svalue) == data
    assert domoticz.pushes == [(str(idx), svalue)]
    assert domoticz.svalues == {str(idx): svalue}


def test_default_sensors():
    with fake.FakeDomoticz() as domoticz:
        listed = command(domoticz.port, "getdevices&filter=all&used=all").json["result"]
    assert [device["idx"] for device in listed] == [str(idx) for idx in range(1, 17)]
    data = {device["idx"]: device["Data"] for device in listed}
    assert (data["1"], data["12"], data["13"]) == ("16.235 kWh", "16.201 GJ", "147.100 m3")
    assert listed[5]["Divider"] == 100
    assert {device["HardwareName"] for device in listed} == {"Kamstrup"}


def test_an_svalue_that_is_missing_wipes_the_old_one(domoticz):
    assert command(domoticz.port, "udevice&idx=12&nvalue=0").json["status"] == "OK"
    assert domoticz.svalues == {"12": None}
    assert domoticz.devices["12"]["Data"] == "0 GJ"


def test_a_temperature_has_its_offset_from_the_next_push_on(domoticz):
    command(domoticz.port, "setused&idx=3&name=T1&addjvalue=-2&used=true")
    assert domoticz.devices["3"]["Data"] == "16235.0 C"
    assert shown(domoticz, 3, "67.256") == "65.3 C"


def test_a_sensor_is_made_and_set_up(domoticz):
    made = command(domoticz.port, "createdevice&idx=2&sensorname=X&sensormappedtype=0x7100")
    assert made.json == {"idx": "17", "status": "OK", "title": "CreateSensor"}
    options = base64.b64encode(b"ValueQuantity:Custom;ValueUnits:MWh;").decode()
    settings = f"name=Heat&description=&switchtype=3&addjvalue=5&addjvalue2=100&options={options}"
    assert command(domoticz.port, f"setused&idx=17&{settings}&used=true").json["status"] == "OK"
    assert shown(domoticz, 17, "16235") == "167.35 MWh"
    assert domoticz.devices["17"]["Name"] == "Heat"


def test_a_custom_sensor_has_the_unit_in_its_options(domoticz):
    query = "createdevice&idx=2&sensorname=X&sensormappedtype=0xF31F&sensoroptions=1%3Bl/h"
    assert command(domoticz.port, query).json["idx"] == "17"
    assert shown(domoticz, 17, "258") == "258 l/h"


def test_disabled_hardware():
    hardware = [fake.dummy_hardware("2", enabled=False), fake.dummy_hardware("3", "Second")]
    with fake.FakeDomoticz(hardware=hardware) as domoticz:
        assert "result" not in command(domoticz.port, "getdevices&rid=12").json
        assert command(domoticz.port, "getdevices&rid=12&displaydisabled=1").json["result"]
        assert command(domoticz.port, "udevice&idx=12&nvalue=0&svalue=16235").json["status"] == "OK"
        command(domoticz.port, "createdevice&idx=3&sensorname=X&sensormappedtype=0x7100")
        listed = command(domoticz.port, "getdevices&filter=all&used=all").json["result"]
    assert [(device["idx"], device["HardwareName"]) for device in listed] == [("17", "Second")]
    assert domoticz.svalues == {"12": "16235"}


def test_names_that_hide_a_sensor(domoticz):
    domoticz.devices["12"]["Name"] = "$Heating"
    listing = "getdevices&filter=all&used=all"
    all_but_it = command(domoticz.port, listing).json["result"]
    everything = command(domoticz.port, f"{listing}&displayhidden=1").json["result"]
    assert len(everything) == len(all_but_it) + 1
    assert command(domoticz.port, "getdevices&rid=12").json["result"][0]["Name"] == "$Heating"


def test_hardware_that_does_not_exist():
    with fake.FakeDomoticz(hardware=[]) as domoticz:
        made = command(domoticz.port, "createdevice&idx=9&sensorname=X&sensormappedtype=0x5005")
        assert made.json["idx"] == "17"
        device = command(domoticz.port, "getdevices&rid=17").json["result"][0]
        assert (device["HardwareName"], device["HardwareDisabled"]) == ("Unknown?", True)
        assert command(domoticz.port, "addhardware&htype=15&name=K&enabled=true").json["idx"] == "2"


def test_a_user_who_is_limited_to_some_sensors(domoticz):
    push = "udevice&nvalue=0&svalue=1&idx="
    assert command(domoticz.port, push + "12", "tenant").status == 200
    assert command(domoticz.port, push + "13", "tenant").status == 403
    assert command(domoticz.port, push + "99", "tenant").status == 403
    assert "result" not in command(domoticz.port, "getdevices&rid=13", "tenant").json
    listed = command(domoticz.port, "getdevices&filter=all&used=all", "tenant").json["result"]
    assert [device["idx"] for device in listed] == ["12"]


# Login and paths


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (login("user", "use"), 200),
        (login("user", "wrong"), 401),
        (login("b\u00e4r", "honey"), 200),
        (login("euro", "5\u20ac", "utf-8"), 401),
        (login("euro", "5?"), 401),
        ({}, 200),
        ({"Authorization": "Bearer token"}, 200),
    ],
)
def test_logins_of_a_trusted_computer(domoticz, headers, status):
    assert get(domoticz.port, "/json.htm?type=command&param=getdevices", headers).status == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/a/b/json.htm", 200),
        ("/a/b//json.htm", 404),
        ("//a/b/json.htm", 400),
        ("/a/b/c/json.htm", 404),
        ("/a/b", 400),
        ("/json.htm", 400),
    ],
)
def test_paths_with_a_webroot(path, status):
    with fake.FakeDomoticz(webroot="/a/b") as domoticz:
        assert get(domoticz.port, f"{path}?type=command&param=getdevices").status == status


def test_one_connection_serves_many_requests(domoticz):
    connection = http.client.HTTPConnection("127.0.0.1", domoticz.port, timeout=10)
    replies = []
    with contextlib.closing(connection):
        for coding in ("gzip, deflate", "identity"):
            target = "/json.htm?type=command&param=getdevices"
            connection.request("GET", target, headers={"Accept-Encoding": coding})
            socket_used = connection.sock
            response = connection.getresponse()
            assert response.version == 11
            replies.append(Reply(response.status, response.headers, response.read()))
            assert connection.sock is socket_used is not None
    packed, plain = replies
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) == len(packed.body)
    assert "Content-Encoding" not in plain.headers
    assert len(json.loads(gzip.decompress(packed.body))["result"]) == len(plain.json["result"])


# Troubles and certificates


def test_answers_without_end_are_cut_short_by_the_client():
    for trouble in (fake.redirects_without_end, fake.endless_body, fake.endless_chunks):
        with fake.FakeDomoticz(trouble=trouble) as domoticz:
            connection = http.client.HTTPConnection("127.0.0.1", domoticz.port, timeout=10)
            connection.request("GET", "/")
            with contextlib.closing(connection.getresponse()) as response:
                assert len(response.read(1_000_000)) == 1_000_000
            connection.close()
            until = time.monotonic() + 10
            while not domoticz.cut_short and time.monotonic() < until:
                time.sleep(0.01)
            assert domoticz.cut_short


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (fake.breaks_off, http.client.RemoteDisconnected),
        (fake.breaks_off_midway, http.client.IncompleteRead),
        (fake.huge_headers, http.client.LineTooLong),
    ],
)
def test_answers_that_break_off_or_are_too_long(trouble, error):
    with fake.FakeDomoticz(trouble=trouble) as domoticz, pytest.raises(error):
        get(domoticz.port, "/")


def test_gzip_bomb():
    begun = time.monotonic()
    with fake.FakeDomoticz(trouble=fake.gzip_bomb) as domoticz:
        reply = get(domoticz.port, "/")
    assert time.monotonic() - begun < 5
    assert reply.headers["Content-Encoding"] == "gzip"
    assert len(reply.body) < 1_000_000
    part = reply.body[: len(reply.body) // 500]
    assert reply.body == part * 500
    assert gzip.decompress(part) == b" " * 1_000_000


def test_trouble_that_is_over():
    first = iter([fake.answers(502, b"<html>", "Content-Type: text/html")])

    def trouble(handler: fake.Handler) -> bool:
        return next(first, lambda _: False)(handler)

    with fake.FakeDomoticz(trouble=trouble) as domoticz:
        refused, accepted = (command(domoticz.port, "getdevices&rid=12") for _ in range(2))
    assert (refused.status, refused.body, refused.headers["Connection"]) == (
        502,
        b"<html>",
        "close",
    )
    assert (accepted.status, accepted.headers["Connection"]) == (200, None)


def test_a_login_is_echoed():
    with fake.FakeDomoticz(USERS, trouble=fake.echoes_login) as domoticz:
        echoed = get(domoticz.port, "/", as_user("umlaut"))
    assert echoed.json["title"] == "umlaut:p\u00e4ssword"


@pytest.mark.parametrize(
    ("tls", "says"),
    [
        ("good", ""),
        ("expired", "certificate has expired"),
        ("not-yet-valid", "certificate is not yet valid"),
        ("other-host", "IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ("weak-key", "EE certificate key too weak"),
        ("selfsigned", "self.signed certificate"),
    ],
)
def test_certificates(tls, says):
    context = ssl.create_default_context(cafile=str(fake.DATA / "ca.pem"))
    with fake.FakeDomoticz(tls=tls) as domoticz:
        assert domoticz.url == f"https://127.0.0.1:{domoticz.port}"
        port = domoticz.port
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        expected = pytest.raises(ssl.SSLCertVerificationError, match=says or None)
        with contextlib.closing(connection), expected if says else contextlib.nullcontext():
            connection.request("GET", "/json.htm?type=command&param=getdevices")
            assert connection.getresponse().status == 200


def test_not_a_certificate():
    with pytest.raises(ssl.SSLError):
        ssl.create_default_context(cafile=str(fake.DATA / "not-a-certificate.pem"))


# As a program


def test_program():
    program_command = [sys.executable, fake.__file__, "--port", "0"]
    with subprocess.Popen(program_command, stdout=subprocess.PIPE, text=True) as program:
        try:
            port = int(re.search(r"127\.0\.0\.1:(\d+)", program.stdout.readline()).group(1))
            command(port, "createdevice&idx=2&sensorname=Heat&sensormappedtype=0x7100")
            command(port, "udevice&idx=17&nvalue=0&svalue=16235")
            lines = [program.stdout.readline() for _ in range(18)]
        finally:
            program.terminate()
    assert lines[0].split() == ["idx", "1", "Counter", "Counter", "16.235", "kWh"]
    assert lines[16] == "made idx 17 Heat, a Counter, now 0.000 kWh\n"
    assert lines[17] == "svalue 16235 to idx 17 Heat, now 16.235 kWh\n"
