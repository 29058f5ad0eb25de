"""The program as a user starts it, and what is said of how it ended."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "kamstrup_read.py"
PREFIX = "kamstrup_read: "

# Seconds that starting Python and waking up may take on a slow computer with other work. A test
# that needs to be more exact uses a clock of its own (fake_serial.py), or counts requests.
SLACK = 30.0
LIMIT = 120.0  # s, after which the program hangs

PROXY_VARIABLES = (
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
)
# What changes the ways of the program, of its libraries, or of Python itself.
CLEARED = (
    "DOMOTICZ_URL",
    "DOMOTICZ_USER",
    "DOMOTICZ_PASSWORD",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    *PROXY_VARIABLES,
    "PYTHONUNBUFFERED",
    "PYTHONWARNINGS",
    "PYTHONDEVMODE",
    "COLUMNS",
    "FORCE_COLOR",
)


class Result(NamedTuple):
    """How the program ended."""

    code: int
    out: str
    err: str
    seconds: float

    def printed(self, *lines: str) -> None:
        """It printed these lines and nothing else, and all was well. Without lines: nothing."""
        assert (self.code, self.err, self.out) == (0, "", "".join(f"{line}\n" for line in lines))

    def failed(self, code: int, *words: str) -> str:
        """It printed nothing, and failed with one line that has all of these words in it."""
        assert self.out == ""
        assert self.err.startswith(PREFIX), self.err
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1, self.err
        line = self.err[len(PREFIX) : -1]
        assert self.code == code, line
        for word in words:
            assert word in line
        return line


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what changes the program's ways."""
    kept = {name: value for name, value in os.environ.items() if name not in CLEARED}
    return {**kept, **more}


def command(*args: object) -> list[str]:
    """The program with its arguments, as a list for subprocess."""
    return [sys.executable, str(PROGRAM), *map(str, args)]


def run(*args: object, env: dict[str, str] | None = None, limit: float = LIMIT) -> Result:
    """Run the program to its end; fails if that takes longer than `limit` s."""
    begun = time.monotonic()
    done = subprocess.run(
        command(*args),
        env=environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=limit,
        check=False,
    )
    result = Result(done.returncode, done.stdout, done.stderr, time.monotonic() - begun)
    assert "Traceback" not in result.err, result.err
    return result


def python(code: str, *arguments: str, **variables: str) -> Result:
    """Run Python code as somebody's script beside the module; a traceback is no failure."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr, 0.0)


def start(
    *args: object,
    env: dict[str, str] | None = None,
    sigint: signal.Handlers = signal.SIG_DFL,
) -> subprocess.Popen[str]:
    """Start the program, and go on. It begins with this handler, whatever this process has."""
    return subprocess.Popen(
        command(*args),
        env=environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        preexec_fn=lambda: signal.signal(signal.SIGINT, sigint),  # noqa: PLW1509
    )


def finish(job: subprocess.Popen[str], limit: float = LIMIT) -> Result:
    """Wait for a started program."""
    begun = time.monotonic()
    out, err = job.communicate(timeout=limit)
    assert "Traceback" not in err, err
    return Result(job.returncode, out, err, time.monotonic() - begun)
