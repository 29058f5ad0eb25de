#!/usr/bin/env python3
"""Show the program at work with a simulated meter and a stand-in for Domoticz.

    python tests/demo.py

Each command is shown as one would type it, with what it prints. Stops, with exit code 1, at the
first that does not go as it should.
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
    """Runs the program, and shows what it prints."""

    def __init__(self, port: str, url: str) -> None:
        self.port = port
        self.url = url

    def show(self, arguments: str, code: int = 0, expected: str = "") -> None:
        """Run the program; the exit code and these words are what should come of it."""
        print(f"$ python3 kamstrup_read.py {SHOWN_PORT} {arguments}", flush=True)
        job = subprocess.Popen(
            command(self.port, *arguments.split()),
            env=environment(DOMOTICZ_URL=self.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # both in the order in which they come
            encoding="utf-8",
        )
        assert job.stdout is not None
        printed = ""
        for line in job.stdout:
            printed += line
            # As if the meter were at the usual port, and Domoticz at its usual address.
            shown = line.replace(f" --url {self.url}", "").replace(self.url, SHOWN_URL)
            print(shown.replace(self.port, SHOWN_PORT), end="", flush=True)
        if job.wait() != code or expected not in printed:
            sys.exit(f"\nThis did not go as it should (exit code {job.returncode}).")


def explain(text: str) -> None:
    print(f"\n# {text}")


def run_demo(
    demo: Demo, meter: simulated_meter.KmpMeter, domoticz: fake_domoticz.FakeDomoticz
) -> None:
    print("# Read the heat energy, make the right sensor for it in Domoticz, and push to it:")
    demo.show("60 --create Heating", expected=f'sensor {HEATING} "Heating"')
    explain("Print it, and leave Domoticz alone; then with every byte on the line:")
    demo.show("60", expected="16.235 GJ\n")
    demo.show("E1 -v", expected="<- 40 3f 10 00 3c")
    explain("Everything that the meter has:")
    demo.show("all", expected="Customer number")
    explain("Push heat and hot water, as cron does. When all is well, nothing is printed:")
    demo.show(f"60 {HEATING}")
    demo.show(f"VA {HOT_WATER}")
    sensors = [f"{device['Name']} {device['Data']}" for device in domoticz.devices.values()]
    print(f"# Domoticz now shows: {', '.join(sensors)}")
    explain("Heat does not go to the sensor for water:")
    demo.show(f"60 {HOT_WATER}", code=7, expected="shows m3, not GJ")
    explain("The meter sleeps (with one attempt; it would be 10 seconds otherwise):")
    meter.always = simulated_meter.silence
    demo.show("60 --wait 0", code=4, expected="no response from the meter")
    assert domoticz.pushes == [(HEATING, "16235"), (HEATING, "16235"), (HOT_WATER, "147307")]


def main() -> None:
    domoticz = fake_domoticz.FakeDomoticz()
    hot_water = {**domoticz.devices["13"], "idx": HOT_WATER}
    domoticz.devices.clear()
    domoticz.devices[HOT_WATER] = hot_water
    meter = simulated_meter.KmpMeter(pace=True)
    with meter, domoticz, tempfile.TemporaryDirectory() as folder:
        port = os.path.join(folder, "meter")
        os.symlink(meter.port, port)
        run_demo(Demo(port, domoticz.url), meter, domoticz)
    print("\nAll went as it should.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
