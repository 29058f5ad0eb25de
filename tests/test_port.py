"""Opening a local port, and the queue of jobs before it.

situation                                        test
------------------------------------------------ ---------------------------------------------
missing, a folder, a file, not a port            test_can_not_be_opened, test_spelled_...
no permission                                    test_no_permission, test_advice_for_...
ports that there are                             test_ports_that_there_are_...
busy                                             test_busy_..., test_stays_busy, test_twenty_jobs
unplugged                                        test_unplugged_...
output is stopped                                test_output_that_is_stopped
Ctrl-C                                           test_interrupted_...
pyserial missing, or something in its place      test_library_...
Windows                                          test_windows_...
"""

from __future__ import annotations

import errno
import fcntl
import os
import pathlib
import pty
import resource
import signal
import subprocess
import sys
import termios
import threading
import time
import types

import fake_domoticz as fake
import pytest
import serial
import simulated_meter as sim
from program import PROGRAM, command, environment, finish, python, run, start

import kamstrup_read as kr


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ("/dev/ttyNONE0", ["/dev/ttyNONE0 does not exist: is the IR head plugged in?"]),
        ("spy:///dev/ttyNONE0", ["spy:///dev/ttyNONE0 does not exist"]),
        ("alt:///dev/ttyNONE0", ["alt:///dev/ttyNONE0 does not exist"]),
        ("hwgrep://nothing-like-this", ["hwgrep://nothing-like-this does not exist"]),
        ("/tmp", ["/tmp is not a serial port"]),
        (str(PROGRAM), ["is not a serial port"]),
        ("/dev/null", ["/dev/null is not a serial port"]),
        ("", ["'' does not exist"]),
        ("/dev/PermissionError", ["/dev/PermissionError does not exist"]),
        ("127.0.0.1:6638", ["a serial server is socket://HOST:PORT (raw TCP)", "rfc2217://HOST"]),
        ("my-pi:6638", ["socket://HOST:PORT"]),
        ("socket:127.0.0.1:6638", ["a serial server is socket://HOST:PORT"]),
        (
            "tcp://127.0.0.1:6638",
            ["protocol 'tcp' not known; a serial server is socket://HOST:PORT"],
        ),
        ("loop://x?foo=1", ["loop://x?foo=1 can't be opened: ", "unknown option: 'foo'"]),
        ("hwgrep://(", ["hwgrep://( can't be opened: ", "unterminated subpattern"]),
        ("hwgrep://.*&n=x", ["hwgrep://.*&n=x can't be opened: "]),
        ("telnet://127.0.0.1:23", ["rfc2217://HOST:PORT (telnet with RFC 2217)"]),
        ("esphome://127.0.0.1/?port_name=uart", ["socket://HOST:PORT"]),
        ("http://127.0.0.1:8080/x", ["socket://HOST:PORT"]),
        ("nonsense://", ["socket://HOST:PORT"]),
    ],
)
def test_can_not_be_opened(port, words):
    run(port, 60).failed(3, *words)


def test_nobody_is_told_to_join_the_group_root(monkeypatch):
    import grp

    monkeypatch.setattr(grp, "getgrgid", lambda number: grp.struct_group(("root", "x", 0, [])))
    error = PermissionError(errno.EACCES, "Permission denied")
    assert "usermod" not in str(kr._opening_error("/dev/null", error))


def test_a_name_with_unprintable_characters_stays_on_one_line():
    run("/dev/tty\n\x1b[2JUSB0", 60).failed(3, "/dev/tty [2JUSB0 does not exist")


@pytest.mark.parametrize("folder", ["/dev/", "/dev/serial/by-id/"])
def test_spelled_without_its_folder(monkeypatch, folder):
    exists = os.path.exists
    known = f"{folder}ttyUSB0"
    monkeypatch.setattr(os.path, "exists", lambda path: path == known or exists(path))
    with pytest.raises(kr.PortError, match=f"did you mean {known}"):
        kr.read_register("ttyUSB0", 60)


def test_ports_that_there_are_listed(monkeypatch):
    import serial.tools.list_ports

    ports = [types.SimpleNamespace(device="/dev/ttyUSB7")]
    monkeypatch.setattr(serial.tools.list_ports, "comports", lambda: ports)
    monkeypatch.setattr("glob.glob", lambda pattern: ["/dev/serial/by-id/usb-head"])
    with pytest.raises(kr.PortError, match="Ports found: /dev/serial/by-id/usb-head, /dev/ttyUSB7"):
        kr.read_register("/dev/ttyNONE0", 60)


def test_ports_that_there_are_not(monkeypatch):
    import serial.tools.list_ports

    def fail() -> None:
        raise OSError("no sysfs")

    monkeypatch.setattr(serial.tools.list_ports, "comports", fail)
    monkeypatch.setattr("glob.glob", lambda pattern: [])
    with pytest.raises(kr.PortError, match=r"plugged in\? No serial port was found"):
        kr.read_register("/dev/ttyNONE0", 60)


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
    assert f"no permission to use {meter.port}" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ("dialout", r"sudo usermod -aG dialout \$USER, then log out and in again"),
        ("uucp", r"sudo usermod -aG uucp \$USER"),
        ("tty", "a login console uses it; switch that off .*raspi-config"),
        (KeyError, "sudo usermod -aG dialout"),
    ],
)
def test_advice_for_the_group_that_the_device_has(monkeypatch, group, words):
    import grp

    def getgrgid(_number: int):
        if group is KeyError:
            raise KeyError
        return types.SimpleNamespace(gr_name=group)

    monkeypatch.setattr(grp, "getgrgid", getgrgid)
    error = PermissionError(13, "Permission denied")
    assert_opening_error(monkeypatch, error, kr.PortError, f"no permission to use .*: {words}")


def assert_opening_error(monkeypatch, error: Exception, raised, words: str) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(serial, "serial_for_url", fail)
    with pytest.raises(raised, match=words) as caught:
        kr._open_serial("/dev/null", 1200)
    assert type(caught.value) is raised


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (OSError(16, "Device or resource busy"), kr.PortBusyError, "is busy"),
        (BlockingIOError(11, "Resource unavailable"), kr.PortBusyError, "is busy"),
        (OSError(24, "Too many open files"), kr.PortError, "can't be opened: Too many open files"),
        (OSError(5, "Input/output error"), kr.PortError, "can't be opened: Input/output error"),
        (OSError(6, "No such device"), kr.PortError, "does not exist"),
        (OSError(25, "Inappropriate ioctl"), kr.PortError, "is not a serial port"),
    ],
)
def test_the_systems_errors(monkeypatch, error, raised, words):
    assert_opening_error(monkeypatch, error, raised, words)


@pytest.mark.parametrize(
    ("text", "raised", "words"),
    [
        ("could not open port 'COM4': PermissionError(13, 'Zugriff verweigert', None, 5)",
         kr.PortBusyError, "is busy"),
        ("could not open port 'COM4': FileNotFoundError(2, 'Datei fehlt', None, 2)",
         kr.PortError, "does not exist"),
    ],
)  # fmt: skip
def test_windows_has_the_error_in_the_text(monkeypatch, text, raised, words):
    monkeypatch.setattr(kr.os, "name", "nt")
    assert_opening_error(monkeypatch, serial.SerialException(text), raised, words)


@pytest.mark.parametrize(
    ("port", "limit"),
    [
        ("/dev/null", kr.WRITE_TIMEOUT),
        ("spy:///dev/null", kr.WRITE_TIMEOUT),
        ("loop://", kr.WRITE_TIMEOUT),
    ],
)
def test_settings_of_the_port(monkeypatch, port, limit):
    opened = []

    class Port:
        write_timeout = None

        def open(self) -> None:
            opened.append(self.write_timeout)

    def serial_for_url(name: str, **options: object) -> Port:
        expected = {
            "baudrate": 1200,
            "stopbits": serial.STOPBITS_TWO,
            "timeout": kr.POLL_INTERVAL,
            "exclusive": True,
            "do_not_open": True,
        }
        assert (name, options) == (port, expected)
        return Port()

    monkeypatch.setattr(serial, "serial_for_url", serial_for_url)
    kr._open_serial(port, 1200)
    assert opened == [limit]


# A call with time limits that a test can wait for; the arguments follow.
SHORT_TIME_LIMITS = """
import sys
import kamstrup_read as kr
kr.OPEN_TIMEOUT = kr.WRITE_TIMEOUT = 1.0
sys.exit(kr.main(sys.argv[1:]))
"""


def test_a_log_that_nobody_reads(tmp_path):
    """spy:// opens its file while the URL is looked at, and a pipe without a reader blocks that."""
    os.mkfifo(tmp_path / "pipe")
    with sim.KmpMeter() as meter:
        url = f"spy://{meter.port}?file={tmp_path / 'pipe'}"
        result = python(SHORT_TIME_LIMITS, url, "60", "--wait", "0")
    result.failed(3, f"{url} can't be opened: no answer for 1 s")


def test_loop_is_nothing_but_echo():
    run("loop://", 60, "--wait", 0).failed(4, kr.EchoOnlyError.seen)


@pytest.mark.parametrize("scheme", ["spy", "alt"])
def test_local_ports_with_a_scheme(scheme):
    with sim.KmpMeter() as meter:
        options = {"spy": "?file=/dev/null", "alt": "?class=PosixPollSerial"}[scheme]
        run(f"{scheme}://{meter.port}{options}", 60).printed("16.235 GJ")


@pytest.mark.parametrize("url", ["{}", "spy://{}?file=/dev/null", "alt://{}?class=PosixPollSerial"])
def test_output_that_is_stopped(url):
    master, slave = pty.openpty()
    termios.tcflow(slave, termios.TCOOFF)
    port = url.format(os.ttyname(slave))
    try:
        result = python(SHORT_TIME_LIMITS, port, "60", "--wait", "0")
    finally:
        os.close(slave)
        os.close(master)
    result.failed(3, f"the connection to {port} was lost", "imeout")


# Busy


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


@pytest.mark.parametrize("scheme", ["", "spy://"])
def test_busy_for_a_while(other_program, scheme):
    with sim.KmpMeter() as meter:
        handle = other_program(meter.port)
        job = start(f"{scheme}{meter.port}{'?file=/dev/null' if scheme else ''}", 60, "--wait", 60)
        time.sleep(1.5)
        assert meter.requests == []
        fcntl.flock(handle, fcntl.LOCK_UN)
        finish(job).printed("16.235 GJ")


@pytest.mark.parametrize("wait", [0, 1.5])
def test_stays_busy(other_program, wait):
    with sim.KmpMeter() as meter:
        other_program(meter.port)
        result = run(meter.port, 60, "--wait", wait)
    result.failed(3, "is busy: another reading is waiting", "another program is using it")
    assert result.seconds >= wait


def test_twenty_jobs():
    expected = {60: "16.235 GJ", 84: "147.307 m3", 86: "67.25 C", 1004: "40345 h"}
    with sim.KmpMeter(pace=True) as meter:
        jobs = [(number, start(meter.port, number, "--wait", 300)) for number in [*expected] * 5]
        for number, job in jobs:
            finish(job, limit=300).printed(expected[number])
        assert meter.too_early == 0
    # Once the meter has ended: it notes what it has sent when that may have been printed already.
    assert [what for _, what, _ in meter.log] == ["received", "sent"] * 20


def test_a_killed_job_blocks_nobody():
    with sim.KmpMeter(faults=[sim.late(1.0)]) as meter:
        job = start(meter.port, 60)
        while not meter.requests:
            time.sleep(0.01)
        job.send_signal(signal.SIGKILL)
        job.communicate()
        run(meter.port, 84, "--wait", 60).printed("147.307 m3")


@pytest.mark.parametrize("when", ["waiting for the meter", "waiting for the port"])
def test_interrupted(when, other_program):
    with sim.KmpMeter(always=sim.silence) as meter:
        if when == "waiting for the port":
            other_program(meter.port)
        job = start(meter.port, 60, "-v", "--wait", 300)
        if when == "waiting for the meter":
            while not meter.requests:
                time.sleep(0.01)
        else:
            time.sleep(1.5)
        job.send_signal(signal.SIGINT)
        result = finish(job)
    assert result.code in (130, -signal.SIGINT)  # the latter while Python still imports
    assert result.out == ""
    assert "kamstrup_read:" not in result.err


def test_the_port_is_free_again_after_a_reading():
    with sim.KmpMeter() as meter:
        kr.read_register(meter.port, 60)
        handles = pathlib.Path("/proc/self/fd").iterdir()
        assert len([link for link in handles if os.path.realpath(link) == meter.port]) == 1


def test_the_port_is_free_before_domoticz_is_asked():
    free = []

    def look(handler: fake.Handler) -> bool:
        with serial.Serial(meter.port, exclusive=True):
            free.append(True)
        return False

    with sim.KmpMeter() as meter, fake.FakeDomoticz(trouble=look) as domoticz:
        run(meter.port, 60, 12, "--url", domoticz.url).printed()
    assert free == [True]


# Unplugged


@pytest.mark.parametrize(
    "fault",
    [sim.unplug(after=0.5), sim.unplug(bytes_before=7)],
    ids=["while waiting", "in the middle of a response"],
)
def test_unplugged(fault):
    with sim.KmpMeter(always=fault) as meter:
        run(meter.port, 60).failed(3, "vanished: was the IR head unplugged?")


# What the system or the user may lack


@pytest.mark.parametrize(
    "arguments",
    [[60], [1003], ["all"], [60, 12], [60, 12, "--dry-run"], [60, "--create", "New"]],
    ids=lambda arguments: " ".join(map(str, arguments)),
)
def test_too_many_open_files(arguments):
    """Also where the port takes the last one, and something is still to be imported."""
    is_push = len(arguments) > 1  # to nobody: nothing listens there
    url = ["--url", "http://127.0.0.1:9"] if is_push else []
    with sim.KmpMeter() as meter:
        codes = set()
        for number in range(4, 12):
            done = subprocess.run(
                command(meter.port, *arguments, *url, "--wait", 0),
                env=environment(),
                capture_output=True,
                encoding="utf-8",
                check=False,
                preexec_fn=lambda: resource.setrlimit(
                    resource.RLIMIT_NOFILE,
                    (number, number),  # noqa: B023
                ),
            )
            if "Traceback" in done.stderr:  # Python could not start, or import what it begins with
                assert ", in run" not in done.stderr
                continue
            codes.add(done.returncode)
            if done.returncode == 3:
                assert "Too many open files" in done.stderr
    assert codes == ({3, 7} if is_push else {0, 3})


@pytest.mark.parametrize(
    ("module", "package", "options", "code"),
    [("serial", "pyserial", [], 3), ("requests", "requests", ["12"], 7)],
)
@pytest.mark.parametrize("content", ["", "raise ImportError", "raise AttributeError('x')", "def"])
def test_library_with_a_file_in_its_place(module, package, options, code, content, tmp_path):
    (tmp_path / f"{module}.py").write_text(content + "\n")
    env = {"PYTHONPATH": str(tmp_path), "DOMOTICZ_URL": "http://127.0.0.1:9"}
    with sim.KmpMeter() as meter:
        result = run(meter.port, 60, *options, env=env)
    result.failed(
        code,
        f"{module}.py is imported in place of {package}, or",
        "rename that file if it is yours",
        f"pip uninstall {module}",
    )


def test_library_with_another_package_in_its_place(tmp_path):
    (tmp_path / "serial").mkdir()
    (tmp_path / "serial" / "__init__.py").write_text("import os\n")
    line = run("/dev/null", 60, env={"PYTHONPATH": str(tmp_path)}).failed(3, "pip uninstall serial")
    assert str(tmp_path / "serial" / "__init__.py") in line


@pytest.mark.parametrize(
    ("prefix", "words"),
    [("/venv", "pip install pyserial"), (sys.base_prefix, "sudo apt install python3-serial")],
    ids=["virtual environment", "Debian"],
)
def test_library_that_is_not_installed(monkeypatch, prefix, words):
    monkeypatch.setattr(sys, "prefix", prefix)
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(kr.PortError, match=f"pyserial is not installed.*: {words}"):
        kr.read_register("/dev/null", 60)


@pytest.mark.parametrize("option", ["--help", "--version", "--list-registers"])
def test_library_is_not_needed_for(option, tmp_path):
    for module in ("serial", "requests"):
        (tmp_path / f"{module}.py").write_text("raise ImportError\n")
    result = run(option, env={"PYTHONPATH": str(tmp_path)})
    assert (result.code, result.err) == (0, "")
    assert result.out


def test_without_threads_a_reading_goes_on(monkeypatch):
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with sim.KmpMeter() as meter:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert str(kr.read_register(meter.port, 60)) == "16.235 GJ"
