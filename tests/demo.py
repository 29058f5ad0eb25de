#!/usr/bin/env python3
"""Show the program at work with a simulated meter and a stand-in for Domoticz.

    python tests/demo.py

Each command is shown as one would type it, with what it prints. Ends with exit code 0 if all went
as it should.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import fake_domoticz
import simulated_meter
from program import command, environment

SHOWN_PORT = "/dev/ttyUSB0"
SHOWN_URL = "http://127.0.0.1:8080"
HOT_WATER = "11"  # the idx of a sensor that is there already
HEATING = "12"  # the idx of the one that --create makes


class Demo:
    """Runs the program, shows what it prints, and notes what did not go as it should."""

    def __init__(self, port: str, url: str) -> None:
        self.port = port
        self.url = url
        self.surprises: list[str] = []

    def show(self, *arguments: str, code: int = 0, expected: str = "") -> None:
        """Run the program; the exit code and these words are what should come of it."""
        call = f"kamstrup_read.py {SHOWN_PORT} {' '.join(arguments)}"
        print(f"$ {call}", flush=True)
        job = subprocess.Popen(
            command(self.port, *arguments),
            env=environment(DOMOTICZ_URL=self.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # both in the order in which they come
            encoding="utf-8",
        )
        assert job.stdout is not None
        printed = ""
        for line in job.stdout:
            printed += line
            print(self._as_shown(line), end="", flush=True)
        if job.wait():
            print(f"(exit code {job.returncode})")
        if job.returncode != code or expected not in printed:
            self.surprises.append(call)

    def _as_shown(self, line: str) -> str:
        """As if the meter were at the usual port, and Domoticz at its usual address."""
        line = line.replace(f" --url {self.url}", "")
        return line.replace(self.url, SHOWN_URL).replace(self.port, SHOWN_PORT)


def explain(text: str) -> None:
    print(f"\n# {text}")


def prepare(domoticz: fake_domoticz.FakeDomoticz) -> None:
    """Leave one sensor, for hot water."""
    hot_water = {**domoticz.devices["13"], "idx": HOT_WATER}
    domoticz.devices.clear()
    domoticz.devices[HOT_WATER] = hot_water


def run_demo(
    demo: Demo, meter: simulated_meter.KmpMeter, domoticz: fake_domoticz.FakeDomoticz
) -> None:
    print("# Read the heat energy, make the right sensor for it in Domoticz, and push to it:")
    demo.show("60", "--create", "Heating", expected='created:  sensor 12 "Heating"')
    explain("Print it, and leave Domoticz alone:")
    demo.show("60", expected="16.235 GJ\n")
    explain("The same with every byte on the line:")
    demo.show("E1", "--verbose", expected="<- 40 3f 10 00 3c")
    explain("Everything that the meter has:")
    demo.show("all", expected="Customer number")
    explain("Push heat and hot water, as cron does. When all is well, nothing is printed:")
    demo.show("60", HEATING, "--multiply", "1000")
    demo.show("VA", HOT_WATER, "--multiply", "1000")
    shown = [f"{device['Name']} {device['Data']}" for device in domoticz.devices.values()]
    print(f"# Domoticz now shows: {', '.join(shown)}")
    explain("Would the other sensor do for heat, too? See what a push would do:")
    demo.show("60", HOT_WATER, "--multiply", "1000", "--dry-run", expected="warning:")
    explain("The meter sleeps:")
    meter.always = simulated_meter.silence
    demo.show("60", "--wait", "3", code=4, expected="no response from the meter")
    if domoticz.pushes != [(HEATING, "16235"), (HEATING, "16235"), (HOT_WATER, "147307")]:
        demo.surprises.append(f"Domoticz got {domoticz.pushes}")


def main() -> int:
    meter = simulated_meter.KmpMeter(pace=True)
    domoticz = fake_domoticz.FakeDomoticz()
    prepare(domoticz)
    with meter, domoticz, tempfile.TemporaryDirectory() as folder:
        port = os.path.join(folder, "meter")
        os.symlink(meter.port, port)
        demo = Demo(port, domoticz.url)
        run_demo(demo, meter, domoticz)
    if demo.surprises:
        print("\nThis did not go as it should:", *demo.surprises, sep="\n")
        return 1
    print("\nAll went as it should.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
