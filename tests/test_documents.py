"""README, crontab.example, requirements.txt and the repository: what they say is true.

what is said                               test
------------------------------------------ ----------------------------------------------
commands with their output                 test_outputs_in_the_readme_are_real
examples in --help                         test_examples_in_the_help_are_accepted
messages, links, Python code               test_messages_..., test_links_..., ...
the jobs of crontab.example                test_cron_jobs_...
what there is at the top level             test_the_repository_...
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
from program import PROGRAM, ROOT, environment, python, run

import kamstrup_read as kr

README = (ROOT / "README.md").read_text(encoding="utf-8")
CRONTAB = (ROOT / "crontab.example").read_text(encoding="utf-8")
SESSIONS = "\n".join(re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
SHOWN = re.findall(
    r"^\$ python3 kamstrup_read.py (.*)\n((?:(?!\$|\n).*\n)*)", SESSIONS, re.MULTILINE
)
CRON_JOBS = [line.split(None, 5)[5] for line in CRONTAB.splitlines() if re.match(r"[0-9*]", line)]
CRON_VARIABLES = dict(re.findall(r"^([A-Z_]+)=(.*)$", CRONTAB, re.MULTILINE))


def test_the_readme_shows_the_main_uses():
    shown = " ".join(command for command, _ in SHOWN)
    for use in (" 60", " 12", "--create", " all", "--json", "--dry-run", "-v", "mc66"):
        assert use in shown


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_outputs_in_the_readme_are_real(command, output):
    words = shlex.split(command)
    meter = sim.Mc66Meter() if "mc66" in words else sim.KmpMeter()
    with meter, fake.FakeDomoticz() as domoticz:
        made = re.search("created:  sensor ([0-9]+) ", output)
        for idx in list(domoticz.devices):
            if made and int(idx) >= int(made.group(1)):
                del domoticz.devices[idx]
        result = run(
            *[meter.port if word == "/dev/ttyUSB0" else word for word in words],
            env={"DOMOTICZ_URL": domoticz.url},
        )
    shown = (result.err + result.out).replace(f" --url {domoticz.url}", "")
    assert shown.replace(meter.port, "/dev/ttyUSB0") == output
    assert (result.code != 0) == output.startswith("kamstrup_read:")


def test_examples_in_the_help_are_accepted():
    examples = re.findall(r"^  kamstrup_read.py (.*?)   ", kr.EPILOG, re.MULTILINE)
    assert len(examples) == 3
    for example in examples:
        assert kr.parse(shlex.split(example)).register == "60"


def test_options_in_the_readme_exist():
    assert set(re.findall(r"`(--[a-z-]+)", README)) <= set(
        re.findall("--[a-z-]+", run("--help").out)
    )


def test_messages_in_the_readme_are_those_of_the_program():
    messages = re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\| (`[^|]*) \|", README, re.M)))
    source = re.sub(r'"\s+f?"', "", PROGRAM.read_text(encoding="utf-8"))  # texts of several lines
    assert len(messages) >= 8
    assert [message for message in messages if message not in source] == []


def test_the_progress_line_in_the_readme_is_what_a_user_sees():
    with sim.KmpMeter(always=sim.silence, echo=True) as meter:
        message = run(meter.port, 60, "--wait", 0).failed(4)
    seen = re.search(r"^    (.*), [0-9]+ s left$", README, re.MULTILINE).group(1)
    assert message.startswith(f"register 60: {seen}: ")


def test_links_lead_somewhere():
    headings = re.findall(r"^##+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub("[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in headings}
    targets = re.findall(r"\]\(([^)]*)\)", README)
    assert targets
    for target in targets:
        assert target[1:] in anchors if target.startswith("#") else (ROOT / target).exists()


def test_the_python_code_in_the_readme_works():
    code = re.search(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL).group(1)
    with sim.KmpMeter() as meter:
        python(code.replace("/dev/ttyUSB0", meter.port)).printed("16.235 GJ")


# crontab.example


def test_cron_jobs_read_and_push_also_with_a_login(tmp_path):
    """Both in the same minute; the login is in its file, and not in the crontab."""
    login = tmp_path / "login"
    login.write_text("export DOMOTICZ_USER=meter\nexport DOMOTICZ_PASSWORD=hush\n")
    users = {"meter": fake.User("hush")}
    assert "PASSWORD" not in CRONTAB
    with sim.KmpMeter() as meter, fake.FakeDomoticz(users=users, plain_login=True) as domoticz:
        variables = {"PORT": meter.port, "DOMOTICZ_URL": domoticz.url}
        refused = run_cron_jobs(tmp_path, idx=("12", "13"), **variables)
        logged = run_cron_jobs(tmp_path, idx=("12", "13"), LOGIN=str(login), **variables)
    assert refused.count("needs a login") == 2
    assert logged == ""
    assert domoticz.svalues == {"12": "16235", "13": "147307"}


def test_cron_jobs_that_were_not_changed_log_it(tmp_path):
    logged = run_cron_jobs(tmp_path, idx=("HEAT_IDX", "WATER_IDX"))
    assert "IDX 'HEAT_IDX' is not a number" in logged
    assert "IDX 'WATER_IDX' is not a number" in logged


def run_cron_jobs(folder, idx: tuple[str, str], **variables: str) -> str:
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
        command = command.replace("HEAT_IDX", idx[0]).replace("WATER_IDX", idx[1])
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            env=environment(PATH=path, **known),
            capture_output=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == (b"", b"")
    return log.read_text()


# The repository


def test_the_repository_has_nothing_else_at_the_top():
    names = {path.name for path in ROOT.iterdir() if path.name[0] not in "._"}
    visible = {"kamstrup_read.py", "README.md", "requirements.txt", "crontab.example", "tests"}
    assert names == visible


def test_requirements_and_script_metadata_agree_and_the_source_is_ascii():
    source = PROGRAM.read_bytes().decode("ascii")
    block = re.search(r"^# /// script\n((?:#.*\n)+?)# ///$", source, re.MULTILINE).group(1)
    listed = (ROOT / "requirements.txt").read_text().split()
    assert re.findall(r'"([a-z]+>=[0-9.]+)"', block.split("dependencies")[1]) == listed
    assert 'requires-python = ">=3.9"' in block


def test_every_file_in_tests_is_described():
    described = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    files = [path.name for path in (ROOT / "tests").iterdir() if path.suffix in (".py", ".txt")]
    assert [name for name in files if name not in described] == []
