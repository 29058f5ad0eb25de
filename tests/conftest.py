"""What all tests share: the program as a process, and time bounds."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PROGRAM = ROOT / "kamstrup_read.py"
sys.path.insert(0, str(ROOT))

SLACK = 3.0  # s for starting Python on a busy computer
BYTE = 11 / 1200  # s
LONGEST_TRY = 9 * BYTE + 60 * BYTE  # s that one try for one register may last beyond --timeout


class Result(NamedTuple):
    """How the program ended."""

    code: int
    out: str
    err: str
    seconds: float

    def one_line(self) -> str:
        """What it said, having said one line and printed nothing."""
        assert self.out == ""
        assert self.err.startswith("kamstrup_read: ")
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1
        return self.err[len("kamstrup_read: ") : -1]


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what changes the program's ways."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DOMOTICZ_")}
    for name in (
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
    ):
        clean.pop(name, None)
    return {**clean, **more}


def run(*args: object, env: dict[str, str] | None = None, limit: float = 60) -> Result:
    """Run the program as a user would; fails if it takes longer than `limit` s."""
    command = [sys.executable, str(PROGRAM), *map(str, args)]
    begun = time.monotonic()
    done = subprocess.run(
        command,
        env=environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=limit,
        check=False,
    )
    result = Result(done.returncode, done.stdout, done.stderr, time.monotonic() - begun)
    assert "Traceback" not in result.err
    return result


@pytest.fixture(autouse=True)
def no_login_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOMOTICZ_USER", "DOMOTICZ_PASSWORD", "DOMOTICZ_URL"):
        monkeypatch.delenv(name, raising=False)
