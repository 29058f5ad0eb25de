"""README, crontab.example and requirements.txt: what they say is true.

what README shows                          test
------------------------------------------ ----------------------------------------------
commands with their output                 test_outputs_in_the_readme_are_real
other calls                                test_every_call_in_the_readme_is_accepted
the table of sensors                       test_sensors_made_by_hand_are_those_that_create_makes
messages                                   test_no_message_in_the_readme_is_lost
options, exit codes, links, Python code    test_every_option_..., test_links_..., ...
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from program import PROGRAM, ROOT, environment, run

import kamstrup_read as kr

README = (ROOT / "README.md").read_text(encoding="utf-8")
CRONTAB = (ROOT / "crontab.example").read_text(encoding="utf-8")
SOURCE = PROGRAM.read_text(encoding="utf-8")
SESSIONS = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMAND_AND_OUTPUT = re.compile(r"^\$ (kamstrup_read.py .*)\n((?:(?!\$).*\n)*)", re.MULTILINE)
SHOWN = [pair for session in SESSIONS for pair in COMMAND_AND_OUTPUT.findall(session)]
CRON_JOBS = [line.split(None, 5)[5] for line in CRONTAB.splitlines() if re.match(r"[0-9*]", line)]
CRON_VARIABLES = dict(re.findall(r"^([A-Z_]+)=(.*)$", CRONTAB, re.MULTILINE))


def section(title: str) -> str:
    """What README says under a heading, up to the next one of its kind."""
    return re.split(r"^## ", README.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of a table's rows."""
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_readme_shows_the_main_uses():
    shown = " ".join(command for command, _ in SHOWN)
    for use in (" 60", " 12 ", "--create", " all", "--json", "--dry-run", "-v", "--help", "mc66"):
        assert use in shown


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_outputs_in_the_readme_are_real(command, output):
    words = shlex.split(command)[1:]
    meter = sim.Mc66Meter() if "mc66" in words else sim.KmpMeter()
    with meter, fake.FakeDomoticz() as domoticz:
        if "--create" in words:  # the new sensor's idx is 12
            domoticz.devices = {
                idx: device for idx, device in domoticz.devices.items() if int(idx) < 12
            }
        result = run(
            *[meter.port if word == "/dev/ttyUSB0" else word for word in words],
            env={"DOMOTICZ_URL": domoticz.url},
        )
    shown = (result.err + result.out).replace(f" --url {domoticz.url}", "")
    shown = shown.replace(domoticz.url, kr.DEFAULT_URL).replace(meter.port, "/dev/ttyUSB0")
    assert result.code == 0
    assert shown == output


def test_a_progress_line_is_as_the_readme_shows_it():
    line = re.search(
        r"^    (only the head's echo: .*?); \.\.\.; [0-9]+ s left$", README, re.MULTILINE
    )
    seen, advice = line.group(1).split(": ")
    assert seen == kr.EchoOnlyError.seen
    assert kr.EchoOnlyError.advice.startswith(advice)


def calls() -> list[str]:
    """The calls between backticks or in a block, without the program's name."""
    found = set(re.findall(r"kamstrup_read\.py (/[^`|\n]*|--[^`|\n]*)", README))
    return sorted(call for call in found if "..." not in call)


@pytest.mark.parametrize("call", calls())
def test_every_call_in_the_readme_is_accepted(call):
    args = kr.parse(shlex.split(call))
    assert args.help or args.list_registers or args.port


def test_every_option_and_exit_code_is_in_the_readme():
    options = section("All options")
    assert run("--help").out in options
    codes = {int(cells[1]) for cells in rows(section("Troubleshooting"))}
    errors = [kind for kind in vars(kr).values() if isinstance(kind, type)]
    known = {kind.exit_code for kind in errors if issubclass(kind, kr.KamstrupError)}
    assert codes <= known
    for code in known:
        assert f"  {code}  " in options


def test_no_message_in_the_readme_is_lost():
    messages = [cells[0].strip("`") for cells in rows(section("Troubleshooting"))]
    texts = re.sub(r'"\s+f?"', "", SOURCE)  # texts that go on in the next line
    for message in messages:
        assert message in texts


def test_sensors_made_by_hand_are_those_that_create_makes():
    for quantity, kind, settings, option, pushed in rows(section("Domoticz")):
        units = re.findall(r"\b(GJ|MWh|Gcal|kWh|m3)\b", quantity)
        if quantity.startswith("temperature"):
            units = ["C"]
        for unit in units or ["kW", "l/h"]:
            sensor = kr.recommended_sensor(unit)
            assert kind == sensor.description.partition(",")[0]
            assert option == (f"`--multiply {sensor.factor}`" if sensor.factor else "")
            assert pushed == ("16235" if sensor.factor == 1000 else "16.235")
            for word in ("Energy", "Water", "Custom"):
                assert (f"Type {word}" in sensor.description) == (f"Type {word}" in settings)


def test_links_lead_somewhere():
    headings = re.findall(r"^##+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub("[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in headings}
    for target in re.findall(r"\]\(([^)]*)\)", README):
        if target.startswith("#"):
            assert target[1:] in anchors
        elif not target.startswith("https://"):
            assert (ROOT / target).exists()


def test_the_contents_list_every_section():
    contents = README.split("Contents:")[1].split("\n\n")[0]
    headings = re.findall(r"^## (.*)$", README, re.MULTILINE)
    assert re.findall(r"\[(.*?)\]", contents) == headings


def test_the_python_code_in_the_readme_works():
    code = re.search(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL).group(1)
    with sim.KmpMeter() as meter:
        done = subprocess.run(
            [sys.executable, "-c", code.replace("/dev/ttyUSB0", meter.port)],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    assert done.stderr == ""
    assert done.stdout == "16.235 GJ\n16.235 GJ\n147.307 m3\n67.25 C\n"


def test_cron_jobs_read_and_push(tmp_path):
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        logged = run_cron_jobs(tmp_path, PORT=meter.port, DOMOTICZ_URL=domoticz.url)
    assert logged == ""
    assert domoticz.svalues == {"12": "16235", "13": "147307"}


def test_cron_jobs_log_what_goes_wrong(tmp_path):
    logged = run_cron_jobs(tmp_path, PORT="/dev/ttyNONE")
    assert logged.count("kamstrup_read: /dev/ttyNONE does not exist") == 2


def test_cron_jobs_use_the_login_in_its_file(tmp_path):
    login = tmp_path / "login"
    login.write_text("export DOMOTICZ_USER=meter\nexport DOMOTICZ_PASSWORD=hush\n")
    users = {"meter": fake.User("hush")}
    with sim.KmpMeter() as meter, fake.FakeDomoticz(users=users, plain_login=True) as domoticz:
        variables = {"PORT": meter.port, "DOMOTICZ_URL": domoticz.url}
        refused = run_cron_jobs(tmp_path, **variables)
        logged = run_cron_jobs(tmp_path, LOGIN=str(login), **variables)
    assert refused.count("needs a login") == 2
    assert logged == ""
    assert domoticz.svalues == {"12": "16235", "13": "147307"}


def run_cron_jobs(folder, **variables: str) -> str:
    """Run the jobs of crontab.example as cron does; what they hand to logger."""
    log = folder / "log"
    log.write_text("")
    logger = folder / "logger"
    logger.write_text(f'#!/bin/sh\n[ "$*" = "-t kamstrup" ] && cat >> {shlex.quote(str(log))}\n')
    logger.chmod(0o755)
    path = f"{folder}:{os.path.dirname(sys.executable)}:/usr/bin:/bin"
    known = {**CRON_VARIABLES, "LOGIN": str(folder / "none"), "READ": str(PROGRAM), **variables}
    for job in CRON_JOBS:
        command = job.replace("python3", shlex.quote(sys.executable), 1)
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            env=environment(PATH=path, **known),
            capture_output=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == (b"", b"")
    return log.read_text()


def test_the_crontab_has_two_jobs_in_the_same_minute():
    lines = [line.split()[:5] for line in CRONTAB.splitlines() if re.match(r"[0-9*]", line)]
    assert lines == [["5", "*", "*", "*", "*"]] * 2


def test_no_secret_is_among_the_variables_of_the_crontab():
    """Cron puts them into the head of each mail."""
    assert set(CRON_VARIABLES) == {"READ", "PORT", "DOMOTICZ_URL", "LOGIN"}
    assert "PASSWORD" not in CRONTAB
