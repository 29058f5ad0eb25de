#!/usr/bin/env python3
"""Show the reader at work: a simulated meter, a stand-in for Domoticz, and the real program between them.

    python tests/demo.py

Each command stands as one would type it, with what it printed.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile

import fake_domoticz
import simulated_meter

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "kamstrup_read.py"


class Demo:
    """Runs commands, shows them, and remembers whether one ended otherwise than it should."""

    def __init__(self, port: str, url: str, folder: str) -> None:
        self.port = os.path.join(folder, "meter")
        os.symlink(port, self.port)
        self.url = url
        self.wrong = 0

    def show(self, why: str, *arguments: str, code: int = 0) -> None:
        print(f"# {why}")
        print(f"$ kamstrup_read.py {' '.join(arguments).replace('PORT', '/dev/ttyUSB0').replace(self.url, 'URL')}")
        command = [sys.executable, str(PROGRAM), *(self._real(word) for word in arguments)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, env=self._environment())
        for line in (done.stdout + done.stderr).splitlines():
            print(line.replace(self.port, "/dev/ttyUSB0"))
        if done.returncode or code:
            print(f"(exit code {done.returncode})")
        self.wrong += done.returncode != code
        print(flush=True)

    def _real(self, word: str) -> str:
        return self.port if word == "PORT" else word

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "DOMOTICZ_URL": self.url}


def main() -> int:
    meter = simulated_meter.KmpMeter(pace=True)
    domoticz = fake_domoticz.FakeDomoticz()
    with meter, domoticz, tempfile.TemporaryDirectory() as folder:
        demo = Demo(meter.port, domoticz.url, folder)
        demo.show("Heat energy, print only:", "PORT", "60")
        demo.show("The same with every byte on the line:", "PORT", "60", "--verbose")
        demo.show("Hot water, by its symbol:", "PORT", "VA")
        demo.show("All that the meter has:", "PORT", "all")
        demo.show(
            "What would be pushed, and does the sensor fit?",
            "PORT",
            "60",
            "1",
            "--multiply",
            "1000",
            "--dry-run",
        )
        demo.show("Push heat and hot water to the right sensors:", "PORT", "60", "12", "--multiply", "1000")
        demo.show("(a push that succeeds prints nothing)", "PORT", "VA", "13", "--multiply", "1000")
        print("# Domoticz now shows:")
        for idx in ("12", "13"):
            print(f"idx {idx}: {domoticz.devices[idx]['Name']}, {domoticz.devices[idx]['Data']}")
        print()
        demo.show("A wrong sensor:", "PORT", "60", "99", "--multiply", "1000", code=7)
        meter.always = simulated_meter.silence
        demo.show("And when the meter sleeps:", "PORT", "60", "--wait", "3", code=4)
        pushed = domoticz.pushes == [("12", "16235"), ("13", "147307")]
    if demo.wrong or not pushed:
        print("Something went otherwise than it should.")
        return 1
    print("All went as it should.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
