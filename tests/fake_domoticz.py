#!/usr/bin/env python3
"""A stand-in for Domoticz: its JSON API with the answers, logins and rights of the real one.

It answers as was recorded (data/domoticz-*.json); test_stand_in.py compares the two. Started as a
program, it prints its address and its sensors, then each push and each sensor that is made:

    python tests/fake_domoticz.py --port 8080
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import dataclasses
import functools
import http.server
import json
import pathlib
import re
import ssl
import sys
import threading
import time
import urllib.parse
from typing import Any, Callable, NamedTuple, Optional

DATA = pathlib.Path(__file__).parent / "data"
ANSWERS, SENSORS, LOOKS = (  # requests and answers of the real one, in order
    json.loads((DATA / f"domoticz-{name}.json").read_text("utf-8"))
    for name in ("answers", "sensors", "looks")
)
VIEWER, USER, ADMIN = 0, 1, 2  # rights

Device = dict[str, Any]  # a sensor as getdevices lists it
Params = dict[str, str]  # what follows the ? of a request
Login = Optional[tuple[bytes, bytes]]  # user and password as they were sent
Response = tuple[int, bytes]  # HTTP status and body


class User(NamedTuple):
    """A user with the password as it was typed into Domoticz's web pages."""

    password: str
    rights: int = ADMIN


def recorded(what: str) -> Response:
    """An answer of domoticz-answers.json."""
    row = next(row for row in ANSWERS if row["what"] == what)
    return row["status"], row["body"].encode()


OK, ERR = recorded("idx exists"), recorded("idx unknown (9999)")
LOGIN_NEEDED = recorded("[no trusted net, AllowPlainBasicAuth=0] no credentials, http")
FORBIDDEN = 403, ERR[1]


def ok(title: str, **more: Any) -> Response:
    return 200, json.dumps({"status": "OK", "title": title, **more}).encode()


# ---------------------------------------------------------------- sensors and what they show


COUNTER, CUSTOM_SENSOR, SWITCH = 0x7100, 0xF31F, 0xF449  # sensormappedtypes
ENERGY, GAS, WATER, CUSTOM, GENERATED = range(5)  # a Counter's SwitchTypeVal
COUNTER_UNITS = {ENERGY: "kWh", GAS: "m3", WATER: "m3", GENERATED: "kWh"}
COUNTER_DIVIDERS = {ENERGY: 1000.0, GAS: 100.0, WATER: 100.0, GENERATED: 1000.0}  # by default

GIGAJOULE: Device = {"SwitchTypeVal": CUSTOM, "AddjValue2": 1000.0, "ValueUnits": "GJ"}
HOT_WATER: Device = {"SwitchTypeVal": WATER, "AddjValue2": 1000.0}


def results(rows: list[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    """The sensors, or the hardware, in the bodies of the records with this name."""
    return [
        item for row in rows if row["what"] == what for item in json.loads(row["body"])["result"]
    ]


def dummy_hardware(idx: str = "2", name: str = "Kamstrup", enabled: bool = True) -> dict[str, Any]:
    """Hardware of the kind that virtual sensors belong to, as gethardware lists it."""
    hardware = results(SENSORS, "hardware, one Dummy")[0]
    return {**hardware, "idx": idx, "Name": name, "Enabled": "true" if enabled else "false"}


KINDS: dict[int, Device] = {  # by sensormappedtype; of two Counters the last, a fresh one
    int(row["request"].partition("mappedtype=")[2][:6], 16): device
    for row in SENSORS
    if row["what"].startswith("create ")
    for device in results(SENSORS, f"device {row['what'][7:]} after svalue=16235")
}


def show(device: Device, svalue: str) -> None:
    """Put into the device what it shows; one that is not for readings stays as it is."""
    if not re.fullmatch(r"[-+]?\d*\.?\d+", svalue):
        device["Data"] = f"0, {svalue}"  # nothing is checked, and anything stored
    elif device["Type"] == "RFXMeter":
        show_counter(device, float(svalue))
    elif device["Type"] == "Temp":
        device.update(Temp=float(svalue), Data=f"{float(svalue):.1f} C")
    elif device["SubType"] == "Custom Sensor":
        device["Data"] = f"{float(svalue):g} {device['SensorUnit']}"


def show_counter(device: Device, value: float) -> None:
    counter_type = device["SwitchTypeVal"]
    divider = device["AddjValue2"] or COUNTER_DIVIDERS.get(counter_type, 1.0)
    total = device["AddjValue"] + value / divider
    if counter_type == CUSTOM and device["ValueUnits"]:
        shown = f"{total:.10g} {device['ValueUnits']}"
    elif counter_type == CUSTOM:
        shown = f"{total:.10g}"
    elif counter_type in COUNTER_UNITS:
        shown = f"{total:.3f} {COUNTER_UNITS[counter_type]}"
    else:
        shown = "?"
    device.update(Divider=divider, Counter=shown, Data=shown)


# ---------------------------------------------------------------- the server


RIGHTS = {  # that each call needs
    **{"getdevices": VIEWER, "gethardware": VIEWER, "udevice": USER},
    **{"addhardware": ADMIN, "createdevice": ADMIN, "setused": ADMIN},
}


@dataclasses.dataclass(eq=False)
class FakeDomoticz:
    """The server; use it in a `with` statement.

    `devices` is what getdevices lists. `pushes` has every (idx, svalue) that was accepted,
    `svalues` the last of each idx. `requests` has every path. All but tls and port may be changed.
    """

    users: dict[str, User] | None = None  # by name; None where nobody has a login
    trusted: bool | None = None  # this computer needs no login; None: if there are no users
    plain_login: bool = False  # Basic authentication over plain http is allowed
    webroot: str = ""  # such as "/domoticz"
    tls: str = ""  # the name of the certificate in data/; none for http
    trouble: Trouble | None = None  # answers in place of Domoticz where it returns True
    port: int = 0  # 0: one that is free
    hardware: list[dict[str, Any]] = dataclasses.field(default_factory=lambda: [dummy_hardware()])

    def __post_init__(self) -> None:
        self.trusted = self.users is None if self.trusted is None else self.trusted
        self.hardware = list(self.hardware)  # as gethardware lists it
        self.https = bool(self.tls)
        self.svalues: dict[str, str] = {}
        self.pushes: list[tuple[str, str]] = []
        self.requests: list[str] = []
        self.closing = threading.Event()
        self.report: Callable[[str], None] = lambda line: None
        recorded_devices = results(ANSWERS, "getdevices after svalue=16235")  # 1 to 5
        self.devices = {device["idx"]: device for device in recorded_devices}
        self._add_device("11", "Switch", SWITCH, "0", {})
        self._add_device("12", "Heating", COUNTER, "16201", GIGAJOULE)
        self._add_device("13", "Hot water", COUNTER, "147100", HOT_WATER)

        handler = type("BoundHandler", (Handler,), {"domoticz": self})
        self.server = Server(("127.0.0.1", self.port), handler)
        self.port = self.server.server_address[1]
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(DATA / f"{self.tls}.pem")
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def serve(self) -> None:
        self.server.serve_forever(poll_interval=0.02)

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
            return recorded("wrong page /json")
        if path != f"{self.webroot}/json.htm":
            return recorded("double slash //json.htm")
        user = self._user(login)
        if user is None:
            return LOGIN_NEEDED
        params = dict(urllib.parse.parse_qsl(query))
        param = params.get("param", "")
        if params.get("type") != "command":
            return recorded("type wrong")
        if param not in RIGHTS:
            return recorded("param unknown")
        if user.rights < RIGHTS[param]:
            return FORBIDDEN
        return getattr(self, param)(params)

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

    # The calls

    def udevice(self, params: Params) -> Response:
        idx, svalue = params.get("idx", ""), params.get("svalue", "")
        if idx not in self.devices:
            return ERR
        device = self.devices[idx]
        self.pushes.append((idx, svalue))
        self.svalues[idx] = svalue
        show(device, svalue)
        self.report(f"svalue {svalue} to idx {idx} {device['Name']}, now {device['Data']}")
        return OK

    def getdevices(self, params: Params) -> Response:
        wanted = [params["rid"]] if "rid" in params else list(self.devices)
        devices = [self._listed(idx) for idx in wanted if idx in self.devices]
        if params.get("displaydisabled") != "1":
            devices = [device for device in devices if not device["HardwareDisabled"]]
        if "rid" not in params and params.get("displayhidden") != "1":
            devices = [device for device in devices if not device["Name"].startswith("$")]
        result = {"result": devices} if devices else {}
        return ok("Devices", ActTime=int(time.time()), app_version="2025.1", **result)

    def _listed(self, idx: str) -> Device:
        """The sensor with the present name and state of its hardware."""
        device = self.devices[idx]
        by_idx = {row["idx"]: row for row in self.hardware}
        missing = {"Name": "Unknown?", "Type": 0, "Enabled": "false"}
        hardware = by_idx.get(str(device["HardwareID"]), missing)
        return {
            **device,
            "HardwareName": hardware["Name"],
            "HardwareTypeVal": hardware["Type"],
            "HardwareDisabled": hardware["Enabled"] != "true",
        }

    def gethardware(self, params: Params) -> Response:
        result = {"result": self.hardware} if self.hardware else {}
        return ok("gethardware", **result)

    def addhardware(self, params: Params) -> Response:
        idx = str(max([1, *(int(hardware["idx"]) for hardware in self.hardware)]) + 1)
        hardware = dummy_hardware(idx, params["name"], params["enabled"] == "true")
        self.hardware.append({**hardware, "Type": int(params["htype"])})
        return ok("AddHardware", idx=idx)

    def createdevice(self, params: Params) -> Response:
        kind, options = int(params["sensormappedtype"], 16), params.get("sensoroptions", "")
        idx = str(max([0, *map(int, self.devices)]) + 1)
        settings: Device = {"HardwareID": int(params["idx"])}
        if kind == CUSTOM_SENSOR:
            if not options:
                return ERR
            settings["SensorUnit"] = options.partition(";")[2]
        self._add_device(idx, params["sensorname"], kind, "0", settings)
        self.report(f"made idx {idx} {params['sensorname']}")
        return ok("CreateSensor", idx=idx)

    def setused(self, params: Params) -> Response:
        idx = params.get("idx", "")
        if idx not in self.devices:
            return ERR
        device = self.devices[idx]
        device["Name"] = params["name"].strip()
        device["SwitchTypeVal"] = int(params["switchtype"])
        for key in ("AddjValue", "AddjValue2"):
            device[key] = float(params[key.lower()])
        options = base64.b64decode(params.get("options", "")).decode()
        device.update(part.split(":") for part in options.split(";") if part)
        show(device, self.svalues.get(idx, "0"))
        return ok("SetUsed")

    def _add_device(self, idx: str, name: str, kind: int, svalue: str, settings: Device) -> None:
        device = {**KINDS[kind], "idx": idx, "Name": name, **settings}
        show(device, svalue)
        self.devices[idx] = device


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
        if self.domoticz.trouble is not None and self.domoticz.trouble(self):
            self.close_connection = True
            return
        self.reply(*self.domoticz.respond(target, self.login()))

    def login(self) -> Login:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return None
        user, _, password = base64.b64decode(token).partition(b":")
        return user, password

    def reply(self, status: int, body: bytes, *headers: str) -> bool:
        self.send_response(status)
        for header in headers:
            self.send_header(*header.split(": ", 1))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return True

    def log_message(self, *_: object) -> None:
        pass


# ---------------------------------------------------------------- trouble

Trouble = Callable[[Handler], bool]


def answers(status: int, body: bytes = b"", *headers: str) -> Trouble:
    """Something else in front of, or in place of, Domoticz."""
    return lambda handler: handler.reply(status, body, *headers)


def sends(data: bytes) -> Trouble:
    """These bytes, and then the connection is closed."""
    return lambda handler: bool(handler.wfile.write(data)) or True


def only(call: str, trouble: Trouble) -> Trouble:
    """The trouble with one kind of call; the others are answered."""
    return lambda handler: f"param={call}" in handler.path and trouble(handler)


def hangs(handler: Handler) -> bool:
    """Accepts the connection and says nothing."""
    handler.domoticz.closing.wait(60)
    return True


def hangs_after_headers(handler: Handler) -> bool:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 49\r\n\r\n{")
    return hangs(handler)


breaks_off = sends(b"")  # closes the connection without a byte
breaks_off_midway = sends(b'HTTP/1.1 200 OK\r\nContent-Length: 49\r\n\r\n{ "status" :')


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for Domoticz; needs no login.")
    parser.add_argument("--port", type=int, default=0, help="default: one that is free")
    domoticz = FakeDomoticz(port=parser.parse_args().port)
    domoticz.report = functools.partial(print, flush=True)
    domoticz.report(f"Domoticz is at {domoticz.url}. Ctrl-C stops it. Its sensors:")
    for idx, device in domoticz.devices.items():
        domoticz.report(f"  idx {idx:>2}  {device['Name']:<17} {device['Data']}")
    with contextlib.suppress(KeyboardInterrupt):
        domoticz.serve()


if __name__ == "__main__":
    main()
