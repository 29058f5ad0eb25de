"""Opening a local port, and the queue of jobs before it.

situation                                        test
------------------------------------------------ ---------------------------------------------
missing, a folder, a file, not a port            test_can_not_be_opened, test_ports_...
no permission, and other words of the system     test_the_systems_errors
busy                                             test_busy_..., test_stays_busy, test_twenty_jobs
unplugged, and back again                        test_a_head_that_...
output is stopped                                test_output_that_is_stopped
Domoticz is asked                                test_the_port_is_free_...
pyserial missing, or something in its place      test_pyserial_...
"""

from __future__ import annotations

import errno
import os
import pathlib
import pty
import socket
import termios
import threading
import time
import types

import pytest
import serial
import simulated_meter as sim
from fake_serial import FakeSerial, connect
from program import LIMIT, PROGRAM, finish, run, start, wait_until

import kamstrup_read as kr

RESPONSE = sim.frame(0x40, b"\x3f\x10" + sim.block(60, *sim.example()[60]))


def right(_request: bytes, _number: int):
    return [(0.01, RESPONSE)]


class Unavailable(FakeSerial):
    """A port that is lost at the first read, and can't be opened from the first look on."""

    error = FileNotFoundError(errno.ENOENT, "No such file or directory")
    was_open = True
    seconds = 3.0

    def open(self, name: str, **options: object) -> FakeSerial:
        super().open(name, **options)
        begins = 1 if self.was_open else 0
        if len(self.openings) > begins and self.clock.now < self.openings[begins] + self.seconds:
            self.close()
            raise serial.SerialException(self.error.errno, f"could not open port: {self.error}")
        return self

    def read(self, size: int) -> bytes:
        if self.was_open and len(self.openings) == 1:
            raise serial.SerialException("device reports readiness to read but returned no data")
        return super().read(size)


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ("/tmp", "'/tmp' can't be opened: .*directory"),
        (str(PROGRAM), r"kamstrup_read.py' can't be opened: is it the port of the head\? \("),
        ("/dev/tty\n\x1b[2JUSB0 ", r"'/dev/tty\\n\\x1b\[2JUSB0 ' does not exist"),
        ("127.0.0.1:6638", "socket://HOST:PORT .*rfc2217://HOST:PORT"),
        ("tcp://127.0.0.1:6638", "socket://HOST:PORT .*'tcp' not known"),
    ],
)
def test_can_not_be_opened(port, words):
    with pytest.raises(kr.PortError, match=words):
        kr.read_register(port, 60, wait=100)


@pytest.mark.parametrize(
    ("by_id", "devices", "words"),
    [(["/dev/serial/by-id/x"], ["COM4"], "found: /dev/serial/by-id/x$"),
     ([], ["COM3", "COM4"], "found: COM3, COM4$"), ([], [], "found: none$")],
)  # fmt: skip
def test_ports_that_there_are_listed(monkeypatch, by_id, devices, words):
    ports = [types.SimpleNamespace(device=device) for device in devices]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports)
    monkeypatch.setattr("glob.glob", lambda pattern: by_id)
    with pytest.raises(kr.PortError, match=words):
        kr.read_register("/dev/ttyNONE0", 60)


@pytest.mark.parametrize(
    ("port", "number", "raised", "words"),
    [
        ("/x", errno.EBUSY, kr.PortBusyError, "'/x' is busy: .*another reading.* program"),
        ("/x", errno.EAGAIN, kr.PortBusyError, "is busy"),
        ("/x", errno.EACCES, kr.PortError, "no permission to use '/x': sudo usermod -aG dialout "),
        ("/", errno.EACCES, kr.PortError, f" -aG {pathlib.Path('/').group()} "),
        ("/x", errno.ENOENT, kr.PortError, "does not exist"),
        ("/x", errno.EMFILE, kr.PortError, "can't be opened: .*Too many open files"),
    ],
)
def test_the_systems_errors(monkeypatch, port, number, raised, words):
    """Only a busy port is waited for."""
    fake = connect(monkeypatch, right, kind=Unavailable)
    fake.error, fake.was_open = OSError(number, os.strerror(number)), False
    with pytest.raises(raised, match=words) as caught:
        kr.read_register(port, 60, wait=2)
    assert type(caught.value) is raised
    assert fake.clock.now - 1000 == (2 if raised is kr.PortBusyError else 0)


def test_settings_of_the_port(monkeypatch):
    port = connect(monkeypatch, right)
    kr.read_register("port", 60, baudrate=9600)
    assert (port.options["baudrate"], port.options["stopbits"]) == (9600, serial.STOPBITS_TWO)


def test_output_that_is_stopped(monkeypatch):
    monkeypatch.setattr(kr, "WRITE_TIMEOUT", 0.5)
    master, slave = pty.openpty()
    termios.tcflow(slave, termios.TCOOFF)
    with pytest.raises(kr.ConnectionLostError, match="imeout"):
        kr.read_register(os.ttyname(slave), 60, wait=0)
    os.close(slave)
    os.close(master)


# Busy


def test_busy_for_a_while(monkeypatch):
    """Reported once, and used for something else; the first request comes after a pause."""
    reports, idle = [], []
    port = connect(monkeypatch, right, kind=Unavailable)
    port.error, port.was_open = BlockingIOError(errno.EAGAIN, "Try again"), False
    hooks = kr.Hooks(
        kr.ignore, lambda *args: reports.append(args), lambda: idle.append(port.clock.now)
    )
    assert str(kr.read_register("port", 60, hooks=hooks)) == "16.235 GJ"
    ((error, left),) = reports
    assert (type(error), left) == (kr.PortBusyError, 10)
    assert idle[0] == 1000
    assert 1003 + 11 / 1200 <= port.requests[0][0] < 1003.2


def test_stays_busy():
    with sim.KmpMeter() as meter, serial.Serial(meter.port, exclusive=True):
        result = run(meter.port, 60, "--wait", 1.5)
        assert meter.requests == []
    result.failed(3, f"register 60: '{meter.port}' is busy: ")
    assert result.seconds >= 1.5


def test_twenty_jobs():
    expected = {60: "16.235 GJ", 84: "147.307 m3", 86: "67.25 C", 1004: "40345 h"}
    with sim.KmpMeter() as meter:
        jobs = [(number, start(meter.port, number, "--wait", 300)) for number in [*expected] * 5]
        for number, job in jobs:
            finish(job, limit=300).printed(expected[number])
    # Once the meter has ended: it notes what it has sent when that may have been printed already.
    assert [what for _, what, _ in meter.log] == ["received", "sent"] * 20


def test_the_port_is_free_before_domoticz_is_asked():
    """Somebody listens in place of Domoticz, and looks at the port."""
    free = []
    with sim.KmpMeter() as meter, socket.create_server(("127.0.0.1", 0)) as listener:

        def look() -> None:
            connection, _ = listener.accept()
            with connection, serial.Serial(meter.port, exclusive=True):
                free.append(True)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        run(meter.port, 60, 12, "--url", url).failed(7)
        thread.join(LIMIT)
    assert free == [True]


# Unplugged


@pytest.mark.parametrize("seconds", [0.2, 0.7, 1.5, 4.0])
@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EIO], ids=os.strerror)
def test_a_head_that_drops_off_and_is_back_soon(monkeypatch, seconds, number):
    """Without a name, then without the rights that udev gives it, then without a device."""
    port = connect(monkeypatch, right, kind=Unavailable)
    port.seconds, port.error = seconds, OSError(number, os.strerror(number))
    assert str(kr.read_register("port", 60)) == "16.235 GJ"
    assert len(port.requests) == 2
    assert port.quiet[1] >= 1.6


def test_a_head_that_is_back_soon_with_the_real_program(tmp_path):
    link = tmp_path / "head"
    with sim.KmpMeter(always=sim.unplug()) as before, sim.KmpMeter() as after:
        link.symlink_to(before.port)
        job = start(link, 60, "--wait", 60)
        wait_until(lambda: before.stopped)
        link.unlink()
        time.sleep(0.7)
        link.symlink_to(after.port)
        finish(job).printed("16.235 GJ")


# What the user may lack


@pytest.mark.parametrize("content", ["", "raise ImportError('nothing here')"])
def test_pyserial_is_missing_or_something_is_in_its_place(content, tmp_path):
    (tmp_path / "serial.py").write_text(content + "\n")
    env = {"PYTHONPATH": str(tmp_path)}
    line = run("/dev/null", 60, env=env).failed(3, "pyserial can't be imported: ", "python3-serial")
    assert (str(tmp_path) if not content else "nothing here") in line
