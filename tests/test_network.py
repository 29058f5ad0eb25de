"""Network ports: socket:// and rfc2217://, as ser2net and others offer them.

situation                                        test
------------------------------------------------ ---------------------------------------------
a value, through each kind of server             test_read, test_read_the_older_protocol
one client at a time                             test_jobs_before_a_server_for_one_client
never there, unknown, nonsense                   test_not_there_..., test_urls_that_...
closed now and then, or every time               test_closed_...
settings that do not fit                         test_doubled_bytes_..., test_settings_...
RFC 2217 that is none                            test_not_rfc2217, test_without_modem_lines
floods, time limits, no threads                  test_a_flood_..., test_without_threads_...
"""

from __future__ import annotations

import socket
import threading
import time

import pytest
import serial
import simulated_meter as sim
from fake_serial import FakeClock, FakeSerial
from program import finish, run, start
from serial_server import SerialServer

import kamstrup_read as kr

KINDS = ["socket", "rfc2217"]


@pytest.mark.parametrize("kind", KINDS)
def test_read(kind):
    with sim.KmpMeter() as meter, SerialServer(meter.port, kind) as server:
        run(server.url, 60, "--wait", 60).printed("16.235 GJ")
        run(server.url.upper().replace("127.0.0.1", "localhost"), "VA", "--wait", 60).printed(
            "147.307 m3"
        )


@pytest.mark.parametrize("kind", KINDS)
def test_read_all(kind):
    with sim.KmpMeter() as meter, SerialServer(meter.port, kind) as server:
        result = run(server.url, "all", "--wait", 60)
    assert (result.code, result.err) == (0, "")
    numbers = [int(line.split()[0]) for line in result.out.splitlines()]
    assert numbers == sorted(meter.registers)


@pytest.mark.parametrize(("register", "text"), [(60, "456.631 GJ"), ("T1", "68.11 C")])
def test_read_the_older_protocol(register, text):
    """The temperature changes the server's speed in mid-reading."""
    with sim.Mc66Meter() as meter, SerialServer(meter.port, "rfc2217") as server:
        run(server.url, register, "--protocol", "mc66", "--wait", 100).printed(text)


def test_a_raw_port_can_not_change_its_speed():
    with sim.Mc66Meter() as meter, SerialServer(meter.port, "socket") as server:
        line = run(server.url, "T1", "--protocol", "mc66").failed(3, "rfc2217://")
        assert meter.requests == []
    assert "can't change its speed" in line


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("second", ["refused", "in use", "closed", "waits"])
def test_jobs_before_a_server_for_one_client(kind, second):
    expected = {60: "16.235 GJ", 84: "147.307 m3", 86: "67.25 C"}
    with sim.KmpMeter() as meter, SerialServer(meter.port, kind, second=second) as server:
        jobs = [(number, start(server.url, number, "--wait", 100)) for number in expected]
        for number, job in jobs:
            finish(job, limit=200).printed(expected[number])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wait", [0, 2])
def test_not_there_for_all_of_wait(kind, wait):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = run(f"{kind}://127.0.0.1:{port}", 60, "--wait", wait)
    result.failed(3, "can't be opened: Connection refused; is the serial server running")
    assert result.seconds >= wait


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_host_is_waited_for(kind):
    result = run(f"{kind}://no-such-host.invalid:4000", 60, "--wait", 1)
    result.failed(3, "can't be opened")
    assert result.seconds >= 1


def test_a_server_that_comes_back_in_time():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tcp_port = listener.getsockname()[1]
    with sim.KmpMeter() as meter:
        job = start(f"socket://127.0.0.1:{tcp_port}", 60, "--wait", 100)
        time.sleep(1.5)
        with SerialServer(meter.port, tcp_port=tcp_port):
            finish(job).printed("16.235 GJ")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("socket://", "must look like socket://HOST:PORT"),
        ("socket://127.0.0.1", "must look like socket://HOST:PORT"),
        ("rfc2217://127.0.0.1", "must look like socket://HOST:PORT"),
        ("socket://127.0.0.1:x", "must look like"),
        ("socket://127.0.0.1:99999", "can't be opened: Port out of range 0-65535"),
        ("rfc2217://127.0.0.1:9?nonsense", "can't be opened: unknown option: 'nonsense'"),
        ("socket://127.0.0.1:9?logging=x", "can't be opened: 'x'"),
        (f"socket://{'x' * 70}.invalid:4000", "can't be opened"),
    ],
)
def test_urls_that_make_no_sense_end_at_once(url, words):
    result = run(url, 60, "--wait", 300)
    result.failed(3, words)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"Port already in use\r\n"],
        [b"Port already i", b"n use\r\n"],
        [b"\r\n\xffport already in use\r\n"],
    ],
)
def test_in_use_is_a_busy_port_in_however_many_pieces(monkeypatch, pieces):
    def respond(_request: bytes, _number: int):
        return [(0.5 * number, piece) for number, piece in enumerate(pieces, 1)]

    port = FakeSerial(FakeClock(), respond)
    monkeypatch.setattr(kr, "time", port.clock)
    monkeypatch.setattr(kr, "_open_serial", lambda _name, _baudrate: port)
    with pytest.raises(kr.ConnectionLostError, match="the server says that it is in use"):
        kr.read_register("socket://host:2000", 60, wait=0)


def test_a_text_from_the_meter_is_no_refusal():
    with sim.KmpMeter({1126: (54, 0, b"Not in use")}) as meter, SerialServer(meter.port) as server:
        run(server.url, 1126).printed("Not in use")


@pytest.mark.parametrize("bytes_before", [0, 7])
def test_closed_now_and_then(bytes_before):
    with (
        sim.KmpMeter() as meter,
        SerialServer(meter.port, drops=2, bytes_before=bytes_before) as server,
    ):
        run(server.url, 60, "--wait", 100).printed("16.235 GJ")
        assert server.connections == 3


@pytest.mark.parametrize("bytes_before", [0, 7])
def test_closed_every_time(bytes_before):
    with (
        sim.KmpMeter() as meter,
        SerialServer(meter.port, drops=99, bytes_before=bytes_before) as server,
    ):
        line = run(server.url, 60, "--wait", 5).failed(3)
        assert 2 <= server.connections <= 4  # it is not opened all the time
    assert line.startswith(f"the connection to {server.url} was lost in ")


# Settings


@pytest.mark.parametrize(("kind", "words"), [("socket", "raw TCP"), ("rfc2217", "RFC 2217")])
def test_settings_come_before_the_head(kind, words):
    with sim.KmpMeter(always=sim.bad_crc) as meter, SerialServer(meter.port, kind) as server:
        line = run(server.url, 60, "--wait", 0).failed(5, "1200 baud, 8N2", words)
    assert line.index("serial server's settings") < line.index("press the head")


def test_settings_of_the_older_protocol():
    with sim.KmpMeter(baudrate=0) as meter, SerialServer(meter.port) as server:
        result = run(server.url, 60, "--wait", 0, "--protocol", "mc66")
    result.failed(4, "300 baud, 8N2, raw TCP", "press a button")


def test_settings_are_no_advice_for_a_local_port():
    with sim.KmpMeter(always=sim.bad_crc) as meter:
        assert "baud" not in run(meter.port, 60, "--wait", 0).failed(5)


def test_doubled_bytes_bring_no_wrong_value():
    """A telnet port that is read as a raw one doubles each FF."""
    registers = {60: (8, 0x43, b"\x00\x00\xff\xff"), 84: (40, 0x43, b"\x00\x00\x3f\x6b")}
    with sim.KmpMeter(registers) as meter, SerialServer(meter.port, telnet=True) as server:
        run(server.url, 60, "--wait", 0).failed(5, "raw TCP")
        run(server.url, 84, "--wait", 60).printed("16.235 m3")


def test_not_rfc2217():
    with sim.KmpMeter() as meter, SerialServer(meter.port) as server:
        result = run(server.url.replace("socket", "rfc2217"), 60, "--wait", 0)
    result.failed(3, "is that a raw TCP port? then use socket://")


def test_without_modem_lines():
    with sim.KmpMeter() as meter, SerialServer(meter.port, "rfc2217", control=False) as server:
        run(server.url, 60, "--wait", 0).failed(3, "add ?ign_set_control to")
        run(f"{server.url}?ign_set_control", 60, "--wait", 60).printed("16.235 GJ")


@pytest.mark.parametrize("opening", [b"\xff\xf0", b"\xff\xfa\x2c\x65\x00\x00\x04\xb0\xff\xf0", b""])
def test_a_strange_rfc2217_server(opening):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(opening)
                connection.recv(1)
                time.sleep(10)

        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        run(f"rfc2217://127.0.0.1:{port}", 60, "--wait", 0).failed(3, "can't be opened")


# Limits


def test_a_flood_from_the_first_moment_on():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def flood() -> None:
            connection, _ = listener.accept()
            try:
                while True:
                    connection.sendall(b"\x55\x40" * 30_000)
            except OSError:
                pass

        threading.Thread(target=flood, daemon=True).start()
        result = run(f"socket://127.0.0.1:{listener.getsockname()[1]}", 60, "--wait", 1)
    assert result.code in (3, 5)
    result.failed(result.code)


def test_opening_has_a_time_limit(monkeypatch):
    class Port:
        def open(self) -> None:
            threading.Event().wait(100)

    monkeypatch.setattr(serial, "serial_for_url", lambda *_args, **_options: Port())
    monkeypatch.setattr(kr, "OPEN_TIMEOUT", 0.2)
    with pytest.raises(kr.PortBusyError, match="can't be opened: no answer"):
        kr._open_serial("socket://127.0.0.1:9", 1200)


def test_rfc2217_is_given_no_write_timeout(monkeypatch):
    class Port:
        write_timeout = None

        def open(self) -> None:
            pass

    monkeypatch.setattr(serial, "serial_for_url", lambda *_args, **_options: Port())
    assert kr._open_serial("rfc2217://127.0.0.1:9", 1200).write_timeout is None
    assert kr._open_serial("socket://127.0.0.1:9", 1200).write_timeout == kr.WRITE_TIMEOUT


def test_without_threads(monkeypatch):
    """socket:// needs none; rfc2217:// has a reader by its nature, and says what it lacks."""
    with sim.KmpMeter() as meter, SerialServer(meter.port) as server:
        start_thread = threading.Thread.start

        def refuse(thread: threading.Thread) -> None:
            if "run_action" in str(getattr(thread, "_target", "")) or "RFC 2217" in thread.name:
                raise RuntimeError("can't start new thread")
            start_thread(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert str(kr.read_register(server.url, 60)) == "16.235 GJ"
        with pytest.raises(kr.PortError, match="can't be opened: can't start new thread"):
            kr.read_register(server.url.replace("socket", "rfc2217"), 60)
