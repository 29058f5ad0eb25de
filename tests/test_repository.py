"""What the repository is made of."""

from __future__ import annotations

import re

from program import PROGRAM, ROOT

VISIBLE = {"kamstrup_read.py", "README.md", "requirements.txt", "crontab.example", "tests"}


def test_nothing_else_is_visible_at_the_top():
    made_by_tools = {"__pycache__"}
    names = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert names - made_by_tools == VISIBLE


def test_the_module_is_ascii():
    assert PROGRAM.read_bytes().isascii()


def test_script_metadata_and_requirements_agree():
    block = re.search(r"^# /// script\n((?:#.*\n)+?)# ///$", PROGRAM.read_text(), re.MULTILINE)
    listed = re.findall(r'"([a-z]+>=[0-9.]+)"', block.group(1).split("dependencies")[1])
    assert listed == ["pyserial>=3.5", "requests>=2.25"]
    assert listed == (ROOT / "requirements.txt").read_text().split()
    assert 'requires-python = ">=3.9"' in block.group(1)


def test_every_file_in_tests_is_described():
    described = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "tests").iterdir()):
        if path.suffix in (".py", ".txt", ".ini"):
            assert path.name in described
