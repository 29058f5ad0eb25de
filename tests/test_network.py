"""Network ports: socket:// and rfc2217://, as ser2net and others offer them.

situation                                        test
------------------------------------------------ ---------------------------------------------
a value, through each kind of server             test_read, test_read_the_older_protocol
one client at a time                             test_jobs_before_a_server_for_one_client
never there, unknown, nonsense                   test_not_there_..., test_can_not_be_opened
closed now and then, or every time               test_closed_...
settings that do not fit                         test_settings_...
RFC 2217 that is none                            test_a_strange_rfc2217_server
floods, and a process that is stopped            test_a_flood_..., test_a_stopped_process_...
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from typing import Callable

import pytest
import simulated_meter as sim
from program import finish, run, start, wait_until
from serial_server import SerialServer

import kamstrup_read as kr

KINDS = ["socket", "rfc2217"]


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def server_of(serve: Callable[[socket.socket], object]):
    """The address of a server that does this with each connection."""

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("kind", KINDS)
def test_read(kind):
    with sim.KmpMeter() as meter, SerialServer(meter.port, kind) as server:
        run(server.url, 60, "--wait", 60).printed("16.235 GJ")
        url = server.url.upper().replace("127.0.0.1", "localhost")
        run(url, "VA", "--wait", 60).printed("147.307 m3")


def test_read_the_older_protocol():
    """The server's speed changes in mid-reading."""
    with sim.Mc66Meter() as meter, SerialServer(meter.port, "rfc2217") as server:
        result = run(server.url, "T1", "--protocol", "mc66", "--wait", 100)
    result.printed("68.11 C")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("second", ["refused", "waits"])
def test_jobs_before_a_server_for_one_client(kind, second):
    expected = {60: "16.235 GJ", 84: "147.307 m3", 86: "67.25 C"}
    with sim.KmpMeter() as meter, SerialServer(meter.port, kind, second=second) as server:
        jobs = [(number, start(server.url, number, "--wait", 100)) for number in expected]
        for number, job in jobs:
            finish(job, limit=200).printed(expected[number])


@pytest.mark.parametrize("kind", KINDS)
def test_not_there_for_all_of_wait(kind):
    url = f"{kind}://127.0.0.1:{unused_port()}"
    result = run(url, 60, "--wait", 1.5)
    line = result.failed(3, "socket://HOST:PORT (raw TCP)", "rfc2217://", "Connection refused")
    assert line.startswith(f"register 60: '{url}' can't be opened: ")
    assert result.seconds >= 1.5


def test_a_server_that_comes_back_in_time():
    tcp_port = unused_port()
    with sim.KmpMeter() as meter:
        job = start(f"socket://127.0.0.1:{tcp_port}", 60, "--wait", 100)
        time.sleep(1.5)
        with SerialServer(meter.port, tcp_port=tcp_port):
            finish(job).printed("16.235 GJ")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("socket://", ""),
        ("socket://127.0.0.1:x", ""),
        ("rfc2217://127.0.0.1:9?nonsense", "unknown option: 'nonsense'"),
        ("socket://no-such-host.invalid:4000", ""),
        (f"socket://{'x' * 70}.invalid:4000", ""),
    ],
)
def test_can_not_be_opened(url, words):
    """One sentence for all, with pySerial's words."""
    with pytest.raises(kr.PortError, match=r"can't be opened: .*socket://HOST:PORT") as caught:
        kr.read_register(url, 60, wait=0)
    assert words in str(caught.value)


@pytest.mark.parametrize("bytes_before", [0, 7])
def test_closed_now_and_then(bytes_before):
    with sim.KmpMeter() as meter:
        with SerialServer(meter.port, drops=2, bytes_before=bytes_before) as server:
            run(server.url, 60, "--wait", 100).printed("16.235 GJ")
        assert server.connections == 3


def test_closed_every_time():
    with sim.KmpMeter() as meter, SerialServer(meter.port, drops=99) as server:
        line = run(server.url, 60, "--wait", 4).failed(3, "attempts)")
        assert 2 <= server.connections <= 4  # it is not opened all the time
    assert f"the connection to '{server.url}' was lost: " in line
    assert "8N2" not in line


@pytest.mark.parametrize(
    ("kind", "fault", "options", "error", "baud"),
    [
        ("socket", sim.bad_crc, {}, kr.DamagedResponseError, 1200),
        ("rfc2217", sim.silence, {}, kr.NoResponseError, 1200),
        ("socket", sim.silence, {"baudrate": 9600}, kr.NoResponseError, 9600),
        ("socket", sim.silence, {"protocol": "mc66"}, kr.NoResponseError, 300),
    ],
)
def test_settings_of_the_server_are_named(kind, fault, options, error, baud):
    with sim.KmpMeter(always=fault) as meter, SerialServer(meter.port, kind) as server:
        words = f"must be set to {baud} baud, 8N2; raw TCP for socket://, telnet for rfc2217://$"
        with pytest.raises(error, match=words):
            kr.read_register(server.url, 60, wait=0, timeout=1, **options)


@pytest.mark.parametrize("opening", [b"", b"a raw port\r\n\xff\xfe\x01"])
def test_a_strange_rfc2217_server(opening):
    def serve(connection: socket.socket) -> None:
        connection.sendall(opening)
        while connection.recv(100):
            pass

    with server_of(serve) as address:
        run(f"rfc2217://{address}", 60, "--wait", 0).failed(3, "can't be opened")


def test_a_flood_from_the_first_moment_on():
    def flood(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"\x55\x40" * 30_000)

    with server_of(flood) as address:
        result = run(f"socket://{address}", 60, "--wait", 1)
    assert result.code in (3, 5)
    result.failed(result.code)


def test_a_stopped_process_finds_the_response_in_the_buffer():
    with sim.KmpMeter(faults=[sim.late(0.4)]) as meter, SerialServer(meter.port) as server:
        job = start(server.url, 60, "--wait", 0)
        wait_until(lambda: meter.requests)
        job.send_signal(signal.SIGSTOP)
        time.sleep(3)
        job.send_signal(signal.SIGCONT)
        finish(job).printed("16.235 GJ")
