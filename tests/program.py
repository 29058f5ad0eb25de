"""The program as a user starts it, and what is said of how it ended."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Callable, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "kamstrup_read.py"
PREFIX = "kamstrup_read: "

LIMIT = 120.0  # s, after which the program hangs

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
PROXY_VARIABLES += tuple(name.upper() for name in PROXY_VARIABLES)
# What changes the ways of the program, of its libraries, or of Python itself.
CLEARED = (
    *("DOMOTICZ_URL", "DOMOTICZ_USER", "DOMOTICZ_PASSWORD"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", *PROXY_VARIABLES),
    *("PYTHONUNBUFFERED", "PYTHONWARNINGS", "PYTHONDEVMODE", "COLUMNS", "FORCE_COLOR"),
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
    return finish(start(*args, env=env), limit)


def python(code: str, *arguments: object, **variables: str) -> Result:
    """Run Python code as somebody's script beside the module; a traceback is no failure."""
    return _result(_popen(["-c", code, *arguments], variables, cwd=ROOT), LIMIT)


def start(
    *args: object,
    env: dict[str, str] | None = None,
    sigint: signal.Handlers = signal.SIG_DFL,
) -> subprocess.Popen[str]:
    """Start the program, and go on. It begins with this handler, whatever this process has."""
    words = command(*args)[1:]
    return _popen(words, env or {}, preexec_fn=lambda: signal.signal(signal.SIGINT, sigint))


def finish(job: subprocess.Popen[str], limit: float = LIMIT) -> Result:
    """Wait for a started program; fails if it takes longer than `limit` s from now on."""
    result = _result(job, limit)
    assert "Traceback" not in result.err, result.err
    return result


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that happens soon in another thread or process."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.01)


def _popen(words: list[object], variables: dict[str, str], **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        **options,
    )


def _result(job: subprocess.Popen[str], limit: float) -> Result:
    begun = time.monotonic()
    try:
        out, err = job.communicate(timeout=limit)
    finally:
        job.kill()  # if it hangs
    return Result(job.returncode, out, err, time.monotonic() - begun)
