"""What pytest needs to know before it collects the tests."""

from __future__ import annotations

import faulthandler
import sys

import pytest
from hypothesis import HealthCheck, settings
from program import CLEARED, ROOT

sys.path.insert(0, str(ROOT))

# Generated examples may take long on a slow computer; what they show does not depend on that.
settings.register_profile("slow", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("slow")

TEST_LIMIT = 300.0  # s: what hangs in this process ends it, and says where


@pytest.fixture(autouse=True)
def time_limit():
    faulthandler.dump_traceback_later(TEST_LIMIT, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that call the program's functions in this process."""
    for name in CLEARED:
        monkeypatch.delenv(name, raising=False)
