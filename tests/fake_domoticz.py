#!/usr/bin/env python3
"""A stand-in for Domoticz's JSON API that gives the real one's answers (data/domoticz-answers.json).

Started as a program it prints its address and answers until it is stopped:

    python tests/fake_domoticz.py            sensors 1 to 9, no login needed
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import copy
import http.server
import json
import pathlib
import re
import ssl
import sys
import threading
import time
import urllib.parse
from decimal import Decimal, InvalidOperation
from typing import Any, Callable

DATA = pathlib.Path(__file__).parent / "data"
ANSWERS: list[dict[str, Any]] = json.loads((DATA / "domoticz-answers.json").read_text(encoding="utf-8"))


def recorded(what: str) -> tuple[int, list[str], bytes]:
    """Status, headers and body of a recorded answer."""
    row = next(row for row in ANSWERS if row["what"] == what)
    return row["status"], row["headers"], row["body"].encode()


OK = recorded("idx exists")
UNKNOWN_IDX = recorded("idx unknown (9999)")
UNKNOWN_PARAM = recorded("param unknown")
UNKNOWN_TYPE = recorded("type wrong")
WRONG_PAGE = recorded("wrong page /json")
DOUBLE_SLASH = recorded("double slash //json.htm")
LOGIN_NEEDED = recorded("[no trusted net, AllowPlainBasicAuth=0] no credentials, http")
VIEWER_ONLY = recorded("[no trusted net, AllowPlainBasicAuth=0] viewer (rights 0) right password, https")
DEVICES = {  # recorded with svalue 16235
    device["idx"]: device
    for row in ANSWERS
    if row["what"] == "getdevices after svalue=16235"
    for device in json.loads(row["body"])["result"]
}
UNKNOWN_DEVICE = next(json.loads(row["body"]) for row in ANSWERS if row["what"] == "getdevices, idx unknown")


def made(name: str, like: str, **changes: Any) -> dict[str, Any]:
    """A device that was not recorded: another one with other settings."""
    return {**copy.deepcopy(DEVICES[like]), "Name": name, **changes}


def devices() -> dict[str, dict[str, Any]]:
    """The recorded sensors 1 to 5 and some that people take by mistake."""
    return {
        **copy.deepcopy(DEVICES),
        "6": made("Water as created", "5", Divider=100.0, Counter="147.3 m3", Data="147.3 m3"),
        "7": made("Incremental", "2", Type="General", SubType="Counter Incremental"),
        "8": made("Electric", "2", Type="General", SubType="kWh"),
        "9": made("Text", "2", Type="General", SubType="Text"),
        "10": made("Switch", "2", Type="Light/Switch", SubType="Switch", Data="Off"),
        "12": made("Heating", "4", Counter="16.201 GJ", Data="16.201 GJ"),
        "13": made("Hot water", "5", Counter="147.100 m3", Data="147.100 m3"),
    }


class FakeDomoticz:
    """The server; use it in a `with` statement.

    users: name to password, or None where every computer is trusted; viewers: those that may only look;
    plain_login: Basic authentication over http is allowed; old: as 2022.2 and before; tls: name of the
    certificate in data/, or none for http; trouble: answers in place of Domoticz, (handler) -> done?
    """

    def __init__(
        self,
        users: dict[str, str] | None = None,
        viewers: tuple[str, ...] = (),
        plain_login: bool = False,
        webroot: str = "",
        old: bool = False,
        tls: str = "",
        trouble: Callable[[Handler], bool] | None = None,
        port: int = 0,
    ) -> None:
        self.users = users
        self.viewers = viewers
        self.plain_login = plain_login
        self.webroot = webroot
        self.old = old
        self.tls = tls
        self.trouble = trouble
        self.devices = devices()
        self.svalues: dict[str, str | None] = {}
        self.pushes: list[tuple[str, str | None]] = []
        self.requests: list[str] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.tell = False  # print each push
        handler = type("BoundHandler", (Handler,), {"domoticz": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
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

    def answer(self, target: str, login: str | None) -> tuple[int, list[str], bytes]:
        """Status, headers, body for the target of a GET."""
        path, _, query = target.partition("?")
        if path.startswith("//") or "//json.htm" in path:
            return DOUBLE_SLASH
        if path != self.webroot + "/json.htm" or "%z" in query:
            return WRONG_PAGE
        if not self._may_enter(login):
            return LOGIN_NEEDED
        params = dict(urllib.parse.parse_qsl(query))
        kind, what = params.get("type"), params.get("param")
        if kind == "command" and what == "udevice":
            return self._update(params, login)
        if (kind == "command" and what == "getdevices" and not self.old) or (kind == "devices" and self.old):
            return self._device(params.get("rid", ""))
        return UNKNOWN_PARAM if kind == "command" else UNKNOWN_TYPE

    def _may_enter(self, login: str | None) -> bool:
        if login is not None and not self.tls and not self.plain_login:
            return False  # even from a trusted computer
        if self.users is None:
            return True
        return login is not None and login in [f"{user}:{password}" for user, password in self.users.items()]

    def _update(self, params: dict[str, str], login: str | None) -> tuple[int, list[str], bytes]:
        if login and login.split(":")[0] in self.viewers:
            return VIEWER_ONLY
        idx = params.get("idx", "")
        if idx not in self.devices:
            return UNKNOWN_IDX
        with self.lock:  # nothing is checked: any svalue is stored, a missing one wipes the old one
            if self.tell:
                print(f"idx {idx} ({self.devices[idx]['Name']}) gets svalue {params.get('svalue')}", flush=True)
            self.svalues[idx] = params.get("svalue")
            self.pushes.append((idx, params.get("svalue")))
            self._show(self.devices[idx], params.get("svalue") or "")
        return OK

    def _show(self, device: dict[str, Any], svalue: str) -> None:
        with contextlib.suppress(InvalidOperation):
            if device["Type"] == "RFXMeter":
                unit = device["Data"].partition(" ")[2]
                device["Data"] = device["Counter"] = f"{Decimal(svalue) / int(device['Divider'])} {unit}"
            elif device["Type"] == "Temp":
                device["Data"] = f"{float(svalue):.1f} C"
            else:
                device["Data"] = svalue
        device["LastUpdate"] = time.strftime("%Y-%m-%d %H:%M:%S")

    def _device(self, rid: str) -> tuple[int, list[str], bytes]:
        body = copy.deepcopy(UNKNOWN_DEVICE)
        if rid in self.devices:
            body["result"] = [{**self.devices[rid], "idx": rid}]
        return 200, ["Content-Type: application/json;charset=UTF-8"], json.dumps(body, indent="\t").encode()


class Handler(http.server.BaseHTTPRequestHandler):
    domoticz: FakeDomoticz
    timeout = 30

    def do_GET(self) -> None:
        self.domoticz.requests.append(self.path)
        if self.domoticz.trouble is not None and self.domoticz.trouble(self):
            self.close_connection = True
            return
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        login = base64.b64decode(token).decode("utf-8", "replace") if scheme == "Basic" else None
        self.reply(*self.domoticz.answer(self.path, login))

    def reply(self, status: int, headers: list[str], body: bytes) -> None:
        self.send_response(status)
        for header in headers:
            name, _, value = header.partition(": ")
            if name != "Content-Length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


# ---------------------------------------------------------------- trouble


def answers(status: int, body: bytes = b"", *headers: str) -> Callable[[Handler], bool]:
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


def drips(handler: Handler) -> bool:
    """A byte of a header every half second, without end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    with contextlib.suppress(OSError):
        while not handler.domoticz.closing.wait(0.5):
            handler.wfile.write(b"x")
    return True


def echoes_login(handler: Handler) -> bool:
    """Repeats the login in its answer."""
    login = handler.headers.get("Authorization", "")
    plain = base64.b64decode(login.partition(" ")[2]).decode("utf-8", "replace")
    handler.reply(200, [], json.dumps({"status": login, "title": plain}, ensure_ascii=False).encode())
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for Domoticz; prints its address.")
    parser.add_argument("--port", type=int, default=0)
    try:
        domoticz = FakeDomoticz(port=parser.parse_args().port)
    except OSError as error:
        raise SystemExit(f"fake_domoticz.py: {error}: take another --port") from None
    print(f"Domoticz is at {domoticz.url}. Ctrl-C stops it. Its sensors:")
    for idx, device in domoticz.devices.items():
        counter = re.sub("RFXMeter.*", "Counter", device["SubType"])
        print(f"  idx {idx:>2}  {device['Name']:<17} {counter:<20} {device['Data']}")
    sys.stdout.flush()
    domoticz.tell = True
    with contextlib.suppress(KeyboardInterrupt):
        domoticz.serve()


if __name__ == "__main__":
    main()
