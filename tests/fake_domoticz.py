#!/usr/bin/env python3
"""A stand-in for Domoticz: its JSON API with the answers, logins and rights of the real one.

What it answers was recorded (data/domoticz-answers.json and data/domoticz-sensors.json);
test_stand_in.py compares the two. Started as a program, it prints its address and its sensors,
then each push and each sensor that is made, until it is stopped:

    python tests/fake_domoticz.py --port 8080
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import copy
import functools
import gzip
import http.server
import json
import pathlib
import re
import ssl
import sys
import threading
import time
import urllib.parse
from collections.abc import Collection
from typing import Any, Callable, NamedTuple, Optional

DATA = pathlib.Path(__file__).parent / "data"
ANSWERS: list[dict[str, Any]] = json.loads((DATA / "domoticz-answers.json").read_text("utf-8"))
SENSORS: list[dict[str, Any]] = json.loads((DATA / "domoticz-sensors.json").read_text("utf-8"))

VIEWER, USER, ADMIN = 0, 1, 2  # rights

Device = dict[str, Any]  # a sensor as getdevices lists it
Params = dict[str, str]  # what follows the ? of a request
Login = Optional[tuple[bytes, bytes]]  # user and password as they were sent


class User(NamedTuple):
    """A user with the password as it was typed into Domoticz's web pages.

    `only`: the idxs of the sensors that the user is limited to. An administrator may push to
    the others all the same, as in the real one.
    """

    password: str
    rights: int = ADMIN
    only: Collection[int] | None = None


class Response(NamedTuple):
    status: int
    headers: list[str]
    body: bytes


def recorded(what: str) -> Response:
    """An answer of domoticz-answers.json, without the length of its body."""
    row = next(row for row in ANSWERS if row["what"] == what)
    headers = [header for header in row["headers"] if not header.startswith("Content-Length")]
    return Response(row["status"], headers, row["body"].encode())


OK = recorded("idx exists")
ERR = recorded("idx unknown (9999)")
UNKNOWN_PARAM = recorded("param unknown")
UNKNOWN_TYPE = recorded("type wrong")
WRONG_PAGE = recorded("wrong page /json")
DOUBLE_SLASH = recorded("double slash //json.htm")
LOGIN_NEEDED = recorded("[no trusted net, AllowPlainBasicAuth=0] no credentials, http")
VIEWER_ONLY = Response(403, ERR.headers, ERR.body)


def ok(title: str, **more: Any) -> Response:
    """JSON laid out as the real one does it."""
    body = {"status": "OK", "title": title, **more}
    text = json.dumps(body, indent="\t", sort_keys=True, separators=(",", " : "))
    return Response(200, OK.headers, f"{text}\n".encode())


# ---------------------------------------------------------------- sensors and what they show


class Kind(NamedTuple):
    """A kind of sensor: its record, the form of its ID, and its value before the first push."""

    record: str
    id_form: str
    svalue: str


FIRST_ID = 82000  # a sensor's ID is this and its idx, in one of three forms
COUNTER, INCREMENTAL, ELECTRIC = 0x7100, 0xF31C, 0xF31D  # the sensormappedtypes
TEMPERATURE, CUSTOM_SENSOR, PERCENTAGE, PRESSURE = 0x5005, 0xF31F, 0xF306, 0xF309
TEXT, SWITCH = 0xF313, 0xF449
KINDS = {
    COUNTER: Kind("Fresh counter", "{:X}", "0"),
    TEMPERATURE: Kind("T1", "{:X}", "0.0"),
    CUSTOM_SENSOR: Kind("Power", "{:08}", "0.0"),
    INCREMENTAL: Kind("Incremental", "{}", "0"),
    ELECTRIC: Kind("Electric", "{:08}", "0;0.0"),
    TEXT: Kind("Text", "{:08}", "Hello World"),
    SWITCH: Kind("Switch", "{:08X}", "100"),
    PERCENTAGE: Kind("Percentage", "{:08}", "0.0"),
    PRESSURE: Kind("Pressure", "{:08}", "0.0"),
}

ENERGY, GAS, WATER, CUSTOM, GENERATED, TIME = range(6)  # a Counter's SwitchTypeVal
COUNTER_UNITS = {ENERGY: "kWh", GAS: "m3", WATER: "m3", GENERATED: "kWh"}
COUNTER_DIVIDERS = {ENERGY: 1000.0, GAS: 100.0, WATER: 100.0, GENERATED: 1000.0}  # by default

GIGAJOULE: Device = {"SwitchTypeVal": CUSTOM, "AddjValue2": 1000.0, "ValueUnits": "GJ"}
DEFAULT_SENSORS: dict[str, tuple[str, int, str, Device]] = {  # besides the recorded 1 to 5
    "6": ("Water as created", COUNTER, "14730", {"SwitchTypeVal": WATER}),
    "7": ("Incremental", INCREMENTAL, "16235", {}),
    "8": ("Electric", ELECTRIC, "16235", {}),
    "9": ("Text", TEXT, "16235", {}),
    "10": ("Switch", SWITCH, "16235", {}),
    "11": ("Time", COUNTER, "16235", {"SwitchTypeVal": TIME, "AddjValue2": 1000.0}),
    "12": ("Heating", COUNTER, "16201", GIGAJOULE),
    "13": ("Hot water", COUNTER, "147100", {"SwitchTypeVal": WATER, "AddjValue2": 1000.0}),
    "14": ("Custom GJ", CUSTOM_SENSOR, "16.201", {"SensorUnit": "GJ"}),
    "15": ("Custom W", CUSTOM_SENSOR, "16235", {"SensorUnit": "W"}),
    "16": ("Percentage", PERCENTAGE, "16.2", {}),
}


def result_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The sensors, or the hardware, in a record's body."""
    result: list[dict[str, Any]] = json.loads(row["body"])["result"]
    return result


def recorded_device(version: str, name: str) -> Device:
    """A sensor of domoticz-sensors.json after svalue 16235."""
    what = f"device {name} after svalue=16235"
    return result_of(next(r for r in SENSORS if (r["version"], r["what"]) == (version, what)))[0]


def number(svalue: str) -> float:
    """The number that the text begins with, or 0, as C's atof has it."""
    found = re.match(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", svalue, re.IGNORECASE)
    return float(found.group()) if found else 0.0


def show(device: Device, svalue: str) -> None:
    """Put into the device what it shows for `svalue`."""
    kind, value = device["SubType"], number(svalue)
    if kind in ("RFXMeter counter", "Counter Incremental"):
        show_counter(device, value)
    elif kind == "Custom Sensor":
        device["Data"] = f"{value:g} {device['SensorUnit']}"
    elif kind == "LaCrosse TX3":
        device.update(Temp=value, Data=f"{value:.1f} C")
    elif kind == "Pressure":
        device.update(Pressure=value, Data=f"{value:.1f} Bar")
    elif kind == "Percentage":
        device["Data"] = f"{value:g}%"
    elif kind == "Switch":  # stays Off, as nvalue is 0
        device.update(Level=int(value), LevelInt=int(value))
    elif kind == "kWh":  # Electric, which wants watt;watthour
        watthours = svalue.partition(";")[2]
        device["Data"] = f"{number(watthours) / 1000:.3f} kWh" if watthours else f"0, {svalue}"
    else:
        device["Data"] = svalue


def show_counter(device: Device, value: float) -> None:
    counter_type = device["SwitchTypeVal"]
    divider = device["AddjValue2"] or COUNTER_DIVIDERS.get(counter_type, 1.0)
    total = device["AddjValue"] + value / divider
    if counter_type == CUSTOM:
        shown = f"{total:.10g} {device['ValueUnits']}".rstrip()
    elif counter_type in COUNTER_UNITS:
        shown = f"{total:.3f} {COUNTER_UNITS[counter_type]}"
    else:
        shown = "?"
    device.update(Divider=divider, Counter=shown, Data=shown)


def dummy_hardware(idx: str = "2", name: str = "Kamstrup", enabled: bool = True) -> dict[str, Any]:
    """Hardware of the kind that virtual sensors belong to, as gethardware lists it."""
    hardware = result_of(next(r for r in SENSORS if r["what"] == "hardware, one Dummy"))[0]
    return {**hardware, "idx": idx, "Name": name, "Enabled": "true" if enabled else "false"}


# ---------------------------------------------------------------- the server


class FakeDomoticz:
    """The server; use it in a `with` statement.

    users: by name, None where nobody has a login; trusted: this computer needs no login, which
    is so by default where there are no users; plain_login: Basic authentication over plain http
    is allowed; webroot: such as "/domoticz"; version: "2025.1" or "2022.2"; tls: name of the
    certificate in data/, empty for http; trouble: answers in place of Domoticz where it returns
    True; hardware: as gethardware lists it, by default one Dummy that is enabled.

    `devices` is what getdevices lists. `pushes` has every (idx, svalue) that was accepted,
    `svalues` the last of each idx, None where a push had none. `requests` has every path.
    `users`, `trusted`, `plain_login`, `webroot` and `https` may be changed while it runs.
    """

    def __init__(
        self,
        users: dict[str, User] | None = None,
        trusted: bool | None = None,
        plain_login: bool = False,
        webroot: str = "",
        version: str = "2025.1",
        tls: str = "",
        trouble: Trouble | None = None,
        port: int = 0,
        hardware: list[dict[str, Any]] | None = None,
    ) -> None:
        self.users = users
        self.trusted = users is None if trusted is None else trusted
        self.plain_login = plain_login
        self.webroot = webroot
        self.version = version
        self.trouble = trouble
        self.hardware = [dummy_hardware()] if hardware is None else copy.deepcopy(hardware)
        self.https = bool(tls)
        self.svalues: dict[str, str | None] = {}
        self.pushes: list[tuple[str, str | None]] = []
        self.requests: list[str] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.cut_short = False  # the client closed the connection during an endless answer
        self.report: Callable[[str], None] = lambda line: None

        old = version == "2022.2"
        self._calls: dict[str, tuple[int, Callable[[Params, User], Response]]] = {
            "command udevice": (USER, self._push),
            "command addhardware": (ADMIN, self._add_hardware),
            "hardware" if old else "command gethardware": (VIEWER, self._list_hardware),
            "devices" if old else "command getdevices": (VIEWER, self._list_devices),
            "createdevice" if old else "command createdevice": (ADMIN, self._create_device),
            "setused" if old else "command setused": (ADMIN, self._set_up_device),
        }
        self.devices: dict[str, Device] = {}
        self._stored: dict[str, str] = {}  # svalues, also of sensors that nothing was pushed to
        self._add_default_devices()

        handler = type("BoundHandler", (Handler,), {"domoticz": self})
        self.server = Server(("127.0.0.1", port), handler)
        self.port = self.server.server_address[1]
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.set_ciphers("DEFAULT:@SECLEVEL=0")  # so that it serves weak keys too
            context.load_cert_chain(DATA / f"{tls}.pem")
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def serve(self) -> None:
        self.server.serve_forever(poll_interval=0.05)

    def __enter__(self) -> FakeDomoticz:
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def respond(self, target: str, login: Login) -> Response:
        """The response to a GET request for `target`."""
        path, _, query = target.partition("?")
        bad_escape = re.search("%(?![0-9a-fA-F]{2})", target)
        if bad_escape or not path.startswith(f"{self.webroot}/") or path == f"{self.webroot}/json":
            return WRONG_PAGE
        if path != f"{self.webroot}/json.htm":
            return DOUBLE_SLASH
        user = self._user(login)
        if user is None:
            return LOGIN_NEEDED
        params = dict(urllib.parse.parse_qsl(query))
        call = params.get("type", "")
        if call == "command":
            call = f"command {params.get('param', '')}"
        if call not in self._calls:
            return self._unknown(call)
        rights, method = self._calls[call]
        if user.rights < rights:
            return VIEWER_ONLY
        with self.lock:
            return method(params, user)

    def _unknown(self, call: str) -> Response:
        if self.version == "2022.2":
            return ERR
        return UNKNOWN_PARAM if call.startswith("command ") else UNKNOWN_TYPE

    def _user(self, login: Login) -> User | None:
        """Who sent the request; None where it is refused."""
        if login is None:
            return User("", ADMIN) if self.trusted else None
        if not self.https and not self.plain_login:
            return None  # even from a trusted computer
        name, password = login
        # The web pages hash a password by its character codes: each goes as a byte, or not at all.
        for known, user in (self.users or {}).items():
            if known.encode() == name and user.password == password.decode("latin-1"):
                return user
        return None

    # What each call does

    def _push(self, params: Params, user: User) -> Response:
        idx, svalue = params.get("idx", ""), params.get("svalue")
        if user.rights < ADMIN and not _may_see(user, idx):
            return VIEWER_ONLY
        if idx not in self.devices or not (svalue or params.get("nvalue")):
            return ERR
        # Nothing is checked: any svalue is stored, a missing one wipes the old one.
        device = self.devices[idx]
        self.pushes.append((idx, svalue))
        self.svalues[idx] = svalue
        self._store(idx, self._adjusted(device, svalue or ""))
        device["LastUpdate"] = _now()
        self.report(f"svalue {svalue} to idx {idx} {device['Name']}, now {device['Data']}")
        return OK

    def _adjusted(self, device: Device, svalue: str) -> str:
        """What is stored of a push."""
        if device["SubType"] == "Counter Incremental":
            return f"{number(self._stored[device['idx']]) + number(svalue):.15g}"
        if device["Type"] == "Temp":
            return f"{number(svalue) + device['AddjValue']:.2f}"
        return svalue

    def _list_devices(self, params: Params, user: User) -> Response:
        wanted = [params["rid"]] if "rid" in params else list(self.devices)
        if user.rights < ADMIN or params.get("used") != "all":
            wanted = [idx for idx in wanted if _may_see(user, idx)]
        devices = [self._with_hardware(self.devices[idx]) for idx in wanted if idx in self.devices]
        if params.get("displaydisabled") != "1":  # hardware that is not there is not disabled
            devices = [
                device
                for device in devices
                if not device["HardwareDisabled"] or device["HardwareName"] == "Unknown?"
            ]
        if "rid" not in params and params.get("displayhidden") != "1":
            devices = [device for device in devices if not device["Name"].startswith("$")]
        result = {"result": devices} if devices else {}
        return ok("Devices", ActTime=int(time.time()), app_version=self.version, **result)

    def _with_hardware(self, device: Device) -> Device:
        """The sensor with the present name and state of its hardware."""
        for hardware in self.hardware:
            if hardware["idx"] == str(device["HardwareID"]):
                names = {"HardwareName": hardware["Name"], "HardwareTypeVal": hardware["Type"]}
                return {**device, **names, "HardwareDisabled": hardware["Enabled"] != "true"}
        unknown = {"HardwareName": "Unknown?", "HardwareType": "Unknown?", "HardwareTypeVal": 0}
        return {**device, **unknown, "HardwareDisabled": True}

    def _list_hardware(self, params: Params, user: User) -> Response:
        title = "Hardware" if self.version == "2022.2" else "gethardware"
        result = {"result": self.hardware} if self.hardware else {}
        return ok(title, **result)

    def _add_hardware(self, params: Params, user: User) -> Response:
        if not {"name", "enabled", "htype"} <= params.keys():
            return ERR
        idx = str(max([1, *(int(hardware["idx"]) for hardware in self.hardware)]) + 1)
        hardware = dummy_hardware(idx, params["name"], params["enabled"] == "true")
        port = params.get("port", "")
        hardware.update(Type=int(params["htype"]), Port=int(number(port)), SerialPort=port)
        self.hardware.append(hardware)
        self.report(f"made hardware {idx} {params['name']}")
        return ok("AddHardware", idx=idx)

    def _create_device(self, params: Params, user: User) -> Response:
        kind = int(params.get("sensormappedtype", "0"), 16)
        options = params.get("sensoroptions", "")
        if not {"idx", "sensorname"} <= params.keys() or kind not in KINDS:
            return ERR
        if kind == CUSTOM_SENSOR and not options:
            return ERR
        idx = str(max([0, *map(int, self.devices)]) + 1)
        settings: Device = {"HardwareID": int(number(params["idx"])), "LastUpdate": _now()}
        if kind == CUSTOM_SENSOR:
            settings["SensorUnit"] = options.split(";")[1] if options.count(";") == 1 else ""
        self._add_device(idx, params["sensorname"], kind, KINDS[kind].svalue, settings)
        device = self.devices[idx]
        self.report(f"made idx {idx} {device['Name']}, a {kind_of(device)}, now {device['Data']}")
        return ok("CreateSensor", idx=idx)

    def _set_up_device(self, params: Params, user: User) -> Response:
        idx = params.get("idx", "")
        if idx not in self.devices or "used" not in params:
            return ERR
        device = self.devices[idx]
        if "name" in params:
            device["Name"] = params["name"].strip()
            device["Description"] = params.get("description", "")
            device["CustomImage"] = int(params.get("customimage", "0"))
            if "SwitchTypeVal" in device and "switchtype" in params:
                device["SwitchTypeVal"] = int(params["switchtype"])
        for key in ("AddjValue", "AddjMulti", "AddjValue2", "AddjMulti2"):
            if key.lower() in params:
                device[key] = number(params[key.lower()])
        if "options" in params and "ValueUnits" in device:
            options = base64.b64decode(params["options"]).decode("utf-8", "replace")
            pairs = dict(part.split(":", 1) for part in options.split(";") if ":" in part)
            device["ValueQuantity"] = pairs.get("ValueQuantity") or "Custom"
            device["ValueUnits"] = pairs.get("ValueUnits", "")
        self._store(idx, self._stored[idx])
        self.report(f"set up idx {idx} {device['Name']}, now {device['Data']}")
        return ok("SetUsed")

    # Its sensors

    def _add_default_devices(self) -> None:
        for row in ANSWERS:
            if row["what"] == "getdevices after svalue=16235":
                device = result_of(row)[0]
                self.devices[device["idx"]] = device
                self._stored[device["idx"]] = "16235"
        for idx, (name, kind, svalue, settings) in DEFAULT_SENSORS.items():
            self._add_device(idx, name, kind, svalue, settings)

    def _add_device(self, idx: str, name: str, kind: int, svalue: str, settings: Device) -> None:
        device_id = KINDS[kind].id_form.format(FIRST_ID + int(idx))
        device = recorded_device(self.version, KINDS[kind].record)
        self.devices[idx] = {**device, "idx": idx, "ID": device_id, "Name": name, **settings}
        self._store(idx, svalue)

    def _store(self, idx: str, svalue: str) -> None:
        self._stored[idx] = svalue
        show(self.devices[idx], svalue)


def _may_see(user: User, idx: str) -> bool:
    return user.only is None or idx in map(str, user.only)


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


def kind_of(device: Device) -> str:
    """What a user calls this kind of sensor."""
    return "Counter" if device["Type"] == "RFXMeter" else str(device["SubType"])


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that failed, such as a refused certificate, is nothing to report."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    domoticz: FakeDomoticz
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def do_GET(self) -> None:
        target = self.requestline.split()[1]  # self.path has lost a doubled slash
        self.domoticz.requests.append(target)
        if self.domoticz.trouble is not None:
            close_anyway, self.close_connection = self.close_connection, True
            if self.domoticz.trouble(self):
                return
            self.close_connection = close_anyway
        status, headers, body = self.domoticz.respond(target, self.login())
        packed = gzip.compress(body)
        takes_gzip = "gzip" in self.headers.get("Accept-Encoding", "")
        if status == 200 and takes_gzip and len(packed) < len(body):
            headers, body = [*headers, "Content-Encoding: gzip"], packed
        self.reply(status, headers, body)

    def login(self) -> Login:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return None
        user, _, password = base64.b64decode(token).partition(b":")
        return user, password

    def reply(self, status: int, headers: list[str], body: bytes) -> None:
        self.send_response(status)
        for header in headers:
            self.send_header(*header.split(": ", 1))
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


# ---------------------------------------------------------------- trouble

Trouble = Callable[[Handler], bool]


def answers(status: int, body: bytes = b"", *headers: str) -> Trouble:
    """Something else in front of, or in place of, Domoticz."""

    def trouble(handler: Handler) -> bool:
        handler.reply(status, list(headers), body)
        return True

    return trouble


def hangs(handler: Handler) -> bool:
    """Accepts the connection and says nothing."""
    handler.domoticz.closing.wait(60)
    return True


def hangs_after_headers(handler: Handler) -> bool:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 49\r\n\r\n{")
    return hangs(handler)


def breaks_off(handler: Handler) -> bool:
    """Closes the connection without a byte."""
    return True


def breaks_off_midway(handler: Handler) -> bool:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(OK.body)}\r\n\r\n".encode()
    handler.wfile.write(head + OK.body[: len(OK.body) // 2])
    return True


def echoes_login(handler: Handler) -> bool:
    """Repeats the login in its answer."""
    user, password = handler.login() or (b"", b"")
    plain = f"{user.decode()}:{password.decode('latin-1')}"
    body = {"status": handler.headers.get("Authorization", ""), "title": plain}
    handler.reply(200, [], json.dumps(body, ensure_ascii=False).encode())
    return True


def _without_end(handler: Handler, head: bytes, piece: bytes, pause: float = 0) -> bool:
    """Send `piece` again and again until the client, or the server, closes."""
    try:
        handler.wfile.write(head)
        while not handler.domoticz.closing.wait(pause):
            handler.wfile.write(piece)
    except OSError:
        handler.domoticz.cut_short = True
    return True


def drips(handler: Handler) -> bool:
    """A byte of a header every half second."""
    return _without_end(handler, b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x", pause=0.5)


def redirects_without_end(handler: Handler) -> bool:
    return _without_end(handler, b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", b"x" * 65536)


def endless_body(handler: Handler) -> bool:
    return _without_end(handler, b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536)


def endless_chunks(handler: Handler) -> bool:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return _without_end(handler, head, b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def huge_headers(handler: Handler) -> bool:
    """One header of a million bytes."""
    handler.reply(200, ["X-Long: " + "x" * 1_000_000], OK.body)
    return True


@functools.lru_cache(maxsize=1)
def _bomb() -> bytes:
    """500 MB of spaces as gzip, in members that are all the same."""
    return gzip.compress(b" " * 1_000_000) * 500


def gzip_bomb(handler: Handler) -> bool:
    """Half a megabyte that expands to 500 MB."""
    handler.reply(200, ["Content-Encoding: gzip"], _bomb())
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for Domoticz; needs no login.")
    parser.add_argument("--port", type=int, default=0, help="default: one that is free")
    try:
        domoticz = FakeDomoticz(port=parser.parse_args().port)
    except OSError as error:
        raise SystemExit(f"fake_domoticz.py: {error}: take another --port") from None
    domoticz.report = functools.partial(print, flush=True)
    domoticz.report(f"Domoticz is at {domoticz.url}. Ctrl-C stops it. Its sensors:")
    for idx, device in domoticz.devices.items():
        line = f"  idx {idx:>2}  {device['Name']:<17} {kind_of(device):<20} {device['Data']}"
        domoticz.report(line)
    with contextlib.suppress(KeyboardInterrupt):
        domoticz.serve()


if __name__ == "__main__":
    main()
