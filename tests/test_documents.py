"""README, crontab.example, requirements: what stands in them is true."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from conftest import ROOT, environment, run

import kamstrup_read as kr

README = (ROOT / "README.md").read_text(encoding="utf-8")
CRONTAB = (ROOT / "crontab.example").read_text(encoding="utf-8")
SESSIONS = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SHOWN = [
    (command, output)
    for session in SESSIONS
    for command, output in re.findall(r"^\$ (kamstrup_read.py .*)\n((?:(?!\$).*\n)*)", session, re.MULTILINE)
]
CRON_JOBS = [line.split(None, 5)[5] for line in CRONTAB.splitlines() if re.match(r"[0-9*]", line)]


def variables(crontab: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", crontab, re.MULTILINE))


def test_there_are_commands_to_check():
    assert len(SHOWN) == 10
    assert len(CRON_JOBS) == 2


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_outputs_in_the_readme_are_real(command, output):
    words = shlex.split(command)[1:]
    meter = sim.Mc66Meter() if "mc66" in words else sim.KmpMeter()
    with meter, fake.FakeDomoticz() as domoticz:
        result = run(
            *[meter.port if word == "/dev/ttyUSB0" else word for word in words],
            env={"DOMOTICZ_URL": domoticz.url},
        )
    assert result.code == 0
    shown = (result.err + result.out).replace(domoticz.url, "http://127.0.0.1:8080")
    assert shown == output


def examples() -> list[str]:
    """Every other call that the README shows, between backticks or in a block."""
    found = re.findall(r"kamstrup_read\.py (/[^`|\n]*|--[^`|\n]*)", README)
    return sorted(set(found))


@pytest.mark.parametrize("arguments", [text for text in examples() if "..." not in text and "--help" not in text])
def test_every_call_in_the_readme_is_accepted(arguments):
    args = kr.parse(shlex.split(arguments))
    assert args.list_registers or args.register


@pytest.mark.parametrize("job", CRON_JOBS)
def test_cron_jobs_are_accepted_and_work(job):
    program, *arguments = shlex.split(job)[1:]
    assert program == "$READ"
    named = variables(CRONTAB)
    assert kr.parse([named["PORT"] if word == "$PORT" else word for word in arguments]).idx in (12, 13)
    with sim.KmpMeter() as meter, fake.FakeDomoticz() as domoticz:
        env = environment(PORT=meter.port, READ=str(ROOT / "kamstrup_read.py"), DOMOTICZ_URL=domoticz.url)
        command = job.replace("python3", shlex.quote(sys.executable), 1)
        done = subprocess.run(["/bin/sh", "-c", command], env=env, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert domoticz.svalues in ({"12": "16235"}, {"13": "147307"})


def test_crontab_has_its_variables_at_the_top_and_both_jobs_in_the_same_minute():
    lines = [line for line in CRONTAB.splitlines() if line and not line.startswith("#")]
    assert [line.partition("=")[0] for line in lines[:3]] == ["DOMOTICZ_URL", "PORT", "READ"]
    assert variables(CRONTAB)["PORT"].startswith("/dev/serial/by-id/")
    assert {tuple(line.split()[:5]) for line in lines[3:]} == {("5", "*", "*", "*", "*")}


def test_script_metadata_and_requirements_agree():
    program = (ROOT / "kamstrup_read.py").read_text()
    block = re.search(r"^# /// script\n((?:#.*\n)+?)# ///$", program, re.MULTILINE).group(1)
    listed = re.findall(r'"([a-z]+>=[0-9.]+)"', block.split("dependencies")[1])
    assert listed == (ROOT / "requirements.txt").read_text().split() == ["pyserial>=3.5", "requests>=2.25"]
    assert 'requires-python = ">=3.9"' in block


def test_every_message_is_in_the_troubleshooting_table():
    table = README.split("## Troubleshooting")[1].split("## MULTICAL")[0]
    kinds = [kind for kind in vars(kr).values() if isinstance(kind, type) and issubclass(kind, kr.TryFailed)]
    messages = [kind.seen for kind in kinds if kind.seen]
    messages += [words for reason in kr.TROUBLE.values() for words in re.findall(r"^[^:;,]+", reason)]
    messages += ["stayed busy", "vanished", "does not exist", "no permission to use", "is no serial port"]
    messages += ["did not answer in time", "can't be verified", "is not known", "nothing listens", "idx"]
    for message in messages:
        assert message in table


def test_every_exit_code_is_told():
    table = README.split("## Troubleshooting")[1].split("## MULTICAL")[0]
    told = {int(code) for code in re.findall(r"^\| .* \| ([0-9]+) \|", table, re.MULTILINE)}
    kinds = [kind for kind in vars(kr).values() if isinstance(kind, type) and issubclass(kind, kr.KamstrupError)]
    assert told == {1} | {kind.exit_code for kind in kinds}


@pytest.mark.parametrize("number", [42_000])
def test_damage_at_scale(number):
    """A smaller number than `python tests/damage.py` decodes, with a fixed seed."""
    import damage

    done, wrong = damage.run(number, seed=7)
    assert min(done[kind] for kind in damage.PROMISED) > number / 15
    assert sum(wrong[kind] for kind in damage.PROMISED) == 0
    assert sum(wrong.values()) <= 3  # 2^-16 of 29,000 would be half a one


def test_soak():
    """Fewer rounds than `python tests/soak.py` has."""
    import soak

    done = soak.run(rounds=150, seed=3)
    assert done.wrong == []
    assert done.codes[0] > 75
    assert len(done.codes) >= 4


def test_the_project_speaks_of_itself_alone():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    files = listed.stdout.split() or [str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py")]
    visible = {name.split("/")[0] for name in files if not name.startswith(".")}
    assert visible <= {"kamstrup_read.py", "README.md", "requirements.txt", "crontab.example", "tests"}


def test_the_module_is_ascii():
    assert (ROOT / "kamstrup_read.py").read_bytes().isascii()
