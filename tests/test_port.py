"""The table of faults of the port, and the queue of jobs before it.

fault                                       expected
------------------------------------------- ---------------------------------------------------
missing, a directory, a file, no permission 3 at once, with what to do       test_can_not_be_opened
busy for less than --wait                   the value                        test_busy_for_a_while
busy for longer                             3 after --wait                   test_stays_busy
unplugged, waiting or in mid-answer         3 at once                        test_unplugged
network port refused, closed                3                                test_network_*
twenty jobs at once                         twenty right values              test_twenty_jobs
a job that was killed                       does not block the next          test_killed_job
"""

from __future__ import annotations

import fcntl
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import simulated_meter as sim
from conftest import LONGEST_TRY, PROGRAM, SLACK, environment, run

import kamstrup_read as kr


@pytest.mark.parametrize(
    ("port", "says"),
    [
        ("/dev/ttyNONE0", ["/dev/ttyNONE0 does not exist", "There is"]),
        ("60", ["60 does not exist"]),
        ("/tmp", ["/tmp is no serial port"]),
        (str(PROGRAM), ["is no serial port"]),
        ("/dev/null", ["/dev/null is no serial port"]),
        ("", ["does not exist"]),
        ("nonsense://x", ["can't be opened", "nonsense"]),
        ("socket://", ["can't be opened", "socket://HOST:PORT"]),
        ("socket://127.0.0.1", ["can't be opened", "socket://HOST:PORT"]),
        ("socket://127.0.0.1:99999", ["can't be opened"]),
        ("socket://no-such-host.invalid:4000", ["can't be opened"]),
    ],
)
def test_can_not_be_opened(port, says):
    result = run(port, 60)
    assert result.code == 3
    for words in says:
        assert words in result.one_line()
    assert result.seconds < SLACK + 5


def test_a_name_with_unprintable_characters_stays_on_one_line():
    assert run("/dev/tty\n\x1b[2JUSB0", 60).code == 3
    assert "/dev/tty [2JUSB0 does not exist" in run("/dev/tty\n\x1b[2JUSB0", 60).one_line()


def test_the_ports_there_are_are_told(monkeypatch, capfd):
    import serial.tools.list_ports

    class Found:
        device = "/dev/ttyUSB7"

    monkeypatch.setattr(serial.tools.list_ports, "comports", lambda: [Found()])
    assert kr.main(["/dev/ttyNONE0", "60"]) == 3
    assert "There is" in capfd.readouterr().err
    monkeypatch.setattr(serial.tools.list_ports, "comports", lambda: [])
    monkeypatch.setattr("glob.glob", lambda pattern: [])
    assert kr.main(["/dev/ttyNONE0", "60"]) == 3
    assert "plugged in? There is none" in capfd.readouterr().err


def test_no_permission(capfd):
    """As a user who may not use the port; root may use all, so the test gives its rights up."""
    with sim.KmpMeter() as meter:
        os.chmod(meter.port, 0)
        child = os.fork()
        if child == 0:
            if os.getuid() == 0:
                os.setuid(65534)
            os._exit(kr.main([meter.port, "60"]))
        _, status = os.waitpid(child, 0)
    assert os.WEXITSTATUS(status) == 3
    assert "dialout" in capfd.readouterr().err


@pytest.fixture
def other_program():
    """Something that holds the port as other programs do."""
    held = []

    def hold(port: str) -> int:
        handle = os.open(port, os.O_RDWR | os.O_NOCTTY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        held.append(handle)
        return handle

    yield hold
    for handle in held:
        os.close(handle)


def test_busy_for_a_while(other_program):
    with sim.KmpMeter() as meter:
        handle = other_program(meter.port)
        released = []

        def release() -> None:
            released.append(time.monotonic())
            fcntl.flock(handle, fcntl.LOCK_UN)

        threading.Timer(1.5, release).start()
        result = run(meter.port, 60, "--wait", 5)
        assert meter.log[0][0] - released[0] >= sim.BITS / 1200  # the meter wants a byte's time of rest
    assert (result.code, result.out, result.err) == (0, "16.235 GJ\n", "")
    assert 1.5 <= result.seconds < 1.5 + SLACK


@pytest.mark.parametrize("wait", [0, 1.5])
def test_stays_busy(other_program, wait):
    with sim.KmpMeter() as meter:
        other_program(meter.port)
        result = run(meter.port, 60, "--wait", wait)
    assert result.code == 3
    assert "stayed busy" in result.one_line()
    assert wait <= result.seconds < wait + SLACK


def test_unplugged_while_waiting():
    with sim.KmpMeter(always=sim.unplug(after=0.5)) as meter:
        result = run(meter.port, 60)
    assert result.code == 3
    assert "vanished" in result.one_line()
    assert "unplugged?" in result.err
    assert result.seconds < 0.5 + SLACK


def test_unplugged_in_mid_answer():
    with sim.KmpMeter(always=sim.unplug(bytes_before=7)) as meter:
        result = run(meter.port, 60)
    assert result.code == 3
    assert "vanished" in result.one_line()
    assert result.seconds < SLACK


# Network ports, as ser2net offers them


class SerialServer:
    """A meter behind a raw TCP port. drops: connections that it closes, in mid-answer or at once."""

    def __init__(self, meter: sim.KmpMeter, drops: int = 0, bytes_before: int = 0) -> None:
        self.meter, self.drops, self.bytes_before = meter, drops, bytes_before
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"socket://127.0.0.1:{self.listener.getsockname()[1]}"
        self.open = 0

    def __enter__(self) -> SerialServer:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open += 1
            with connection:
                if self.drops:
                    self.drops -= 1
                    if self.bytes_before:
                        connection.recv(100)
                        connection.sendall(bytes.fromhex("403F10003C080443")[: self.bytes_before])
                    continue
                self._pass_on(connection)

    def _pass_on(self, connection: socket.socket) -> None:
        """One request, one answer: enough for these tests."""
        try:
            request = connection.recv(100)
            if request:
                answer = sim.frame(0x40, b"\x3f\x10" + sim.block(60, *self.meter.registers[60]))
                connection.sendall(answer)
                connection.recv(100)
        except OSError:
            pass


def test_network_port():
    with SerialServer(sim.KmpMeter()) as server:
        result = run(server.url, 60)
    assert (result.code, result.out, result.err) == (0, "16.235 GJ\n", "")


def test_network_port_refused():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = run(f"socket://127.0.0.1:{port}", 60)
    assert result.code == 3
    assert "can't be opened" in result.one_line()
    assert "refused" in result.err
    assert result.seconds < SLACK


@pytest.mark.parametrize("bytes_before", [0, 7])
def test_network_port_closed_now_and_then(bytes_before):
    with SerialServer(sim.KmpMeter(), drops=2, bytes_before=bytes_before) as server:
        result = run(server.url, 60)
    assert (result.code, result.out) == (0, "16.235 GJ\n")
    assert server.open == 3


def test_network_port_closed_at_once_is_not_opened_all_the_time():
    with SerialServer(sim.KmpMeter(), drops=99) as server:
        result = run(server.url, 60, "--wait", 5)
    assert result.code == 3
    assert 2 <= server.open <= 4


@pytest.mark.parametrize("bytes_before", [0, 7])
def test_network_port_closed_every_time(bytes_before):
    with SerialServer(sim.KmpMeter(), drops=99, bytes_before=bytes_before) as server:
        result = run(server.url, 60, "--wait", 2)
    assert result.code == 3
    assert "closed by the network port" in result.one_line()
    assert result.seconds < 2 + 2 + LONGEST_TRY + SLACK


def test_network_port_that_sends_without_end():
    """Faster than it can be read, from the first moment on."""
    listener = socket.create_server(("127.0.0.1", 0))

    def flood() -> None:
        connection, _ = listener.accept()
        try:
            while True:
                connection.sendall(b"\x55\x40" * 30_000)
        except OSError:
            pass

    threading.Thread(target=flood, daemon=True).start()
    result = run(f"socket://127.0.0.1:{listener.getsockname()[1]}", 60, "--wait", 1)
    listener.close()
    assert result.code in (3, 5)
    assert result.one_line()
    assert result.seconds < kr.MAX_OPENING + 1 + 2 + LONGEST_TRY + SLACK


@pytest.mark.parametrize("opening", [b"\xff\xf0", b"\xff\xfa\x2c\x65\x00\x00\x04\xb0\xff\xf0", b""])
def test_a_strange_rfc2217_server(opening):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            connection.sendall(opening)
            time.sleep(10)

        threading.Thread(target=serve, daemon=True).start()
        result = run(f"rfc2217://127.0.0.1:{listener.getsockname()[1]}", 60, "--wait", 0)
    assert result.code == 3
    assert "can't be opened" in result.one_line()
    assert result.seconds < kr.MAX_OPENING + SLACK


def test_busy_behind_a_url_waits_too(other_program):
    with sim.KmpMeter() as meter:
        handle = other_program(meter.port)
        threading.Timer(1.0, fcntl.flock, (handle, fcntl.LOCK_UN)).start()
        assert run(f"spy://{meter.port}?file=/dev/null", 60, "--wait", 5).out == "16.235 GJ\n"


def test_loop_port_is_nothing_but_echo():
    result = run("loop://", 60, "--wait", 0)
    assert result.code == 4
    assert "only the head's echo" in result.one_line()


# The queue


def start(port: str, *args: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAM), port, *map(str, args)]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )


def test_twenty_jobs():
    expected = {60: "16.235 GJ\n", 84: "147.307 m3\n", 86: "67.25 C\n", 1004: "40345 h\n"}
    with sim.KmpMeter(pace=True) as meter:
        jobs = [(register, start(meter.port, register, "--wait", 60)) for register in [*expected] * 5]
        results = [(register, job.communicate(timeout=100), job.returncode) for register, job in jobs]
        log = list(meter.log)
        assert meter.too_early == 0
    assert [(out, err, code) for _, (out, err), code in results] == [
        (expected[register], "", 0) for register, _, _ in results
    ]
    assert [what for _, what, _ in log] == ["heard", "sent"] * 20  # no try was lost to another job


def test_killed_job_leaves_nothing_that_blocks_the_next():
    with sim.KmpMeter(faults=[sim.late(1.0)]) as meter:
        job = start(meter.port, 60)
        while not meter.asked:
            time.sleep(0.01)
        job.send_signal(signal.SIGKILL)
        job.communicate()
        result = run(meter.port, 84)
    assert (result.code, result.out) == (0, "147.307 m3\n")


@pytest.mark.parametrize("when", ["waiting for the meter", "waiting for the port"])
def test_interrupted(when, other_program):
    with sim.KmpMeter(always=sim.silence) as meter:
        if when == "waiting for the port":
            other_program(meter.port)
        job = start(meter.port, 60)
        if when == "waiting for the meter":
            while not meter.asked:
                time.sleep(0.01)
        else:
            time.sleep(1.5)
        job.send_signal(signal.SIGINT)
        out, err = job.communicate(timeout=5)
    assert (job.returncode, out, err) == (130, "", "")


def test_the_port_is_free_again_after_a_reading():
    with sim.KmpMeter() as meter:
        kr.read_register(meter.port, 60)
        open_ports = [
            link for link in pathlib.Path("/proc/self/fd").iterdir() if os.path.realpath(link) == meter.port
        ]
        assert len(open_ports) == 1  # the meter's own
