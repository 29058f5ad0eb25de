"""The table of faults of the line: the real program against the simulated meter.

fault                                            expected
------------------------------------------------ -----------------------------------------
echo, 00, noise, restart, late answer, twice     the value               test_read_all_the_same
silence, damage, other answers for a while       the value, later        test_tried_again
silence, echo only                               4 and its advice        test_given_up
noise, drip, damage, other answers for ever      5 and its advice        test_given_up
each byte with a flipped bit                     never a wrong value     test_one_flipped_bit
no such register                                 6 at once               test_no_such_register
requests too early                               never                   test_rest_*
"""

from __future__ import annotations

import gc
import time
from decimal import Decimal

import pytest
import simulated_meter as sim
from conftest import LONGEST_TRY, SLACK, run

import kamstrup_read as kr

SILENT = ("no answer from the meter", "button", "mc66")
DAMAGED = ("a damaged answer", "press the head flat")
OTHER = ("an answer to another question", "no other program")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(sim.right, id="nothing wrong"),
        pytest.param(sim.around(before=b"\0"), id="a lone 00 first"),
        pytest.param(sim.around(before=b"\x55\xaa\x12\xff"), id="noise first"),
        pytest.param(sim.around(before=b"\x55\x0d\x40\x12\x0d\x40\x1b"), id="noise that looks like frames"),
        pytest.param(sim.restart, id="the frame starts again in the middle"),
        pytest.param(sim.twice, id="two answers back to back"),
        pytest.param(sim.around(after=b"\x40\x3f\x10"), id="more after the answer"),
        pytest.param(sim.late(1.5), id="the answer starts 1.5 s late"),
        pytest.param(sim.around(before=bytes(range(0x41, 0x80)) * 300), id="20 kB of noise first"),
    ],
)
@pytest.mark.parametrize("echo", [False, True], ids=["", "echoing head"])
def test_read_all_the_same(fault, echo):
    with sim.KmpMeter(faults=[fault], echo=echo) as meter:
        result = run(meter.port, 60, "--wait", 0)
    assert (result.code, result.out, result.err) == (0, "16.235 GJ\n", "")
    assert result.seconds < 1.5 + SLACK


@pytest.mark.parametrize(
    ("faults", "tries"),
    [
        pytest.param([sim.silence], 2, id="one silence"),
        pytest.param([sim.silence] * 3, 4, id="asleep for three tries"),
        pytest.param([sim.bad_crc], 2, id="one bad CRC"),
        pytest.param([sim.cut], 2, id="cut in half"),
        pytest.param([sim.flip(7), sim.FAULTS["lengths"]], 3, id="a flipped bit, then wrong lengths"),
        pytest.param([sim.FAULTS["register"]], 2, id="another register"),
        pytest.param([sim.FAULTS["address"]], 2, id="another address"),
        pytest.param([sim.FAULTS["cid"]], 2, id="another CID"),
        pytest.param([sim.rubbish()], 2, id="100 kB of rubbish"),
    ],
)
def test_tried_again(faults, tries):
    with sim.KmpMeter(faults=faults) as meter:
        result = run(meter.port, 60, "--wait", 15)
        assert meter.too_early == 0
        assert len(meter.asked) == tries
    assert (result.code, result.out, result.err) == (0, "16.235 GJ\n", "")
    assert result.seconds < 15 + LONGEST_TRY + 2 + SLACK


def test_the_answer_to_the_first_try_comes_in_the_second():
    with sim.KmpMeter(faults=[sim.late(2.6)]) as meter:
        result = run(meter.port, 60)
    assert (result.code, result.out) == (0, "16.235 GJ\n")
    assert 2.6 < result.seconds < 2.6 + SLACK


def test_an_old_answer_does_not_stand_for_a_new_one():
    """Read, wait, read again on the open port: what came in between is not taken for the second answer."""
    with sim.KmpMeter(faults=[sim.twice]) as meter, kr.KmpMeter(meter.port) as reader:
        first = reader.read(60)
        time.sleep(0.2)
        meter.registers[60] = (8, 0x43, (16236).to_bytes(4, "big"))
        second = reader.read(60)
    assert (str(first), str(second)) == ("16.235 GJ", "16.236 GJ")


def test_a_stray_empty_answer_is_not_believed():
    with sim.KmpMeter(faults=[sim.empty]) as meter:
        result = run(meter.port, 60)
        assert len(meter.asked) == 2
    assert (result.code, result.out) == (0, "16.235 GJ\n")


def test_a_late_answer_does_not_stand_for_the_next_question():
    """The first answer comes twice, and again while the next register is asked for."""
    with sim.KmpMeter(faults=[sim.twice]) as meter, kr.KmpMeter(meter.port) as reader:
        first, second = reader.read(60), reader.read(84)
    assert (str(first), str(second)) == ("16.235 GJ", "147.307 m3")


@pytest.mark.parametrize(
    ("fault", "echo", "code", "says"),
    [
        pytest.param(sim.silence, False, 4, SILENT, id="silence"),
        pytest.param(sim.silence, True, 4, ("only the head's echo", "turn the head", "mc66"), id="echo only"),
        pytest.param(sim.instead(b"\0"), False, 4, SILENT, id="nothing but a lone 00"),
        pytest.param(sim.noise_without_end, False, 5, DAMAGED, id="noise without end"),
        pytest.param(sim.drip, False, 5, DAMAGED, id="a byte a second for ever"),
        pytest.param(sim.cut, False, 5, DAMAGED, id="always cut in half"),
        pytest.param(sim.bad_crc, False, 5, DAMAGED, id="always a bad CRC"),
        pytest.param(sim.bad_crc, True, 5, DAMAGED, id="always a bad CRC, echoing head"),
        pytest.param(sim.FAULTS["lengths"], False, 5, DAMAGED, id="lengths that do not add up"),
        pytest.param(sim.FAULTS["register"], False, 5, OTHER, id="always another register"),
        pytest.param(sim.FAULTS["address"], False, 5, OTHER, id="always another address"),
        pytest.param(sim.FAULTS["cid"], False, 5, OTHER, id="always another CID"),
        pytest.param(sim.rubbish(), False, 5, DAMAGED, id="always 100 kB of rubbish"),
        pytest.param(sim.instead(b"Port already in use\r\n"), False, 5, DAMAGED, id="a text"),
    ],
)
@pytest.mark.parametrize("wait", [0, 3])
def test_given_up(fault, echo, code, says, wait):
    with sim.KmpMeter(always=fault, echo=echo) as meter:
        result = run(meter.port, 60, "--wait", wait)
        assert meter.too_early == 0
    line = result.one_line()
    assert result.code == code
    for words in says:
        assert words in line
    assert f" of {len(meter.asked)} tries" in line
    assert result.seconds < wait + 2 + LONGEST_TRY + SLACK


def test_the_failure_that_tells_most_is_told():
    with sim.KmpMeter(faults=[sim.silence, sim.bad_crc], always=sim.silence) as meter:
        result = run(meter.port, 60, "--wait", 5)
    assert result.code == 5
    assert "a damaged answer in 1 of 3 tries (the last: its CRC is wrong)" in result.one_line()


@pytest.mark.parametrize("at", range(15))
def test_one_flipped_bit(at):
    """In each byte of the answer in turn; the lowest bit, then a higher one."""
    faults = [sim.flip(at, 0), sim.flip(at, 3 + at % 5)]
    with sim.KmpMeter(faults=faults) as meter:
        first = run(meter.port, 60, "--wait", 0, "--timeout", 0.3)
        assert first.code in (4, 5)
        assert first.out == ""
        time.sleep(sim.REST)
        result = run(meter.port, 60, "--wait", 10, "--timeout", 0.3)
    assert (result.code, result.out) == (0, "16.235 GJ\n")


@pytest.mark.parametrize("fault", [sim.FAULTS["empty"], sim.right], ids=["left out", "not known"])
def test_no_such_register(fault):
    with sim.KmpMeter(always=fault) as meter:
        result = run(meter.port, 61)
    assert result.code == 6
    assert "no register 61" in result.one_line()
    assert result.seconds < SLACK


@pytest.mark.parametrize("wait", [0, 1, 4])
def test_the_end_comes_with_wait_and_one_try_at_the_latest(wait):
    with sim.KmpMeter(always=sim.silence) as meter:
        result = run(meter.port, 60, "--wait", wait, "--timeout", 0.5)
    assert result.code == 4
    assert result.seconds < wait + 0.5 + LONGEST_TRY + SLACK
    assert result.seconds > wait - sim.REST


# Timing as the meter's clock has it.


class Times(kr.Watch):
    """When each request was out."""

    def __init__(self) -> None:
        self.asked_at: list[float] = []

    def asked(self) -> None:
        self.asked_at.append(time.monotonic())


def gaps(meter: sim.KmpMeter, times: Times) -> list[float]:
    """From the last byte before each request but the first, to the request, in s.

    A busy computer may let the simulated meter hear a request late, but not earlier than it was out.
    """
    result = []
    asked_at = iter(times.asked_at)
    for (before, last, earlier), (heard, what, data) in zip(meter.log, meter.log[1:]):
        out = next(asked_at) + len(earlier) * meter.byte_time() if last == "heard" else before
        if what == "heard":
            result.append(heard - len(data) * meter.byte_time() - min(before, out))
    return result


@pytest.mark.parametrize(
    ("fault", "timeout"),
    [(sim.silence, 0.2), (sim.silence, 2), (sim.bad_crc, 0.2), (sim.cut, 2)],
    ids=["silence", "silence, long time-out", "bad CRC", "cut"],
)
@pytest.mark.parametrize("pace", [False, True], ids=["fast", "real pace"])
def test_rest_after_silence_and_damage_is_at_least_1_6_s(fault, timeout, pace):
    with sim.KmpMeter(always=fault, pace=pace) as meter:
        times = Times()
        with pytest.raises(kr.TryFailed), kr.KmpMeter(meter.port, wait=4, timeout=timeout, watch=times) as reader:
            list(reader.read_all(range(60, 68)))
        assert len(gaps(meter, times)) >= 8
        assert min(gaps(meter, times)) >= 1.6
        assert meter.too_early == 0


def test_rest_after_an_answer_is_a_bytes_time():
    times = Times()
    with sim.KmpMeter(pace=True) as meter, kr.KmpMeter(meter.port, watch=times) as reader:
        readings = list(reader.read_all(list(range(60, 92))))
        between = gaps(meter, times)
    assert len(readings) == 9
    assert len(between) == 3
    assert min(between) >= 0.009
    assert max(between) < 0.1


class Port:
    """A port whose meter answers at once, as often as it is read."""

    baudrate = 1200
    in_waiting = 0

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def read(self, size: int) -> bytes:
        return sim.frame(0x40, b"\x3f\x10" + sim.block(60, 8, 0x43, b"\x00\x00\x3f\x6b"))

    def reset_input_buffer(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_request_goes_out_in_one_write():
    reader = kr.KmpMeter("none")
    reader._port = port = Port()
    assert reader.read(60) == kr.Reading(60, Decimal("16.235"), "GJ")
    assert port.written == [kr.encode_request([60])]


def test_the_rest_may_end_between_two_looks_at_the_clock(monkeypatch):
    class Clock:
        def __init__(self) -> None:
            self.now = self.tick = 0.0

        def monotonic(self) -> float:
            self.now += self.tick
            return self.now

        def sleep(self, seconds: float) -> None:
            assert seconds >= 0
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(kr, "time", clock)
    for clock.tick in (0.001, 0.004, 0.007, 0.011, 0.016, 0.023):
        for rest in range(1, 50):
            reader = kr.KmpMeter("none")
            reader._port = port = Port()
            reader._last, reader._must_rest = clock.now, rest / 1000
            reader._send(b"?")
            assert port.written == [b"?"]


def test_real_pace_is_well_under_a_second():
    with sim.KmpMeter(pace=True) as meter:
        result = run(meter.port, 60)
    assert result.out == "16.235 GJ\n"
    assert 0.2 < result.seconds < 1


@pytest.mark.parametrize("echo", [False, True])
def test_verbose_shows_every_frame(echo):
    with sim.KmpMeter(faults=[sim.silence], echo=echo) as meter:
        result = run(meter.port, 60, "-v")
    lines = result.err.splitlines()
    request, answer = "80 3f 10 01 00 3c b2 5f 0d", "40 3f 10 00 3c 08 04 43 00 00 3f 6b 15 59 0d"
    heard = [f"<- {request}"] if echo else []
    seen = "only the head's echo" if echo else "no answer from the meter"
    assert result.out == "16.235 GJ\n"
    assert lines[: 1 + len(heard)] == [f"-> {request}", *heard]
    assert lines[1 + len(heard)].startswith(seen)
    assert lines[2 + len(heard) :] == [f"-> {request}", *heard, f"<- {answer}"]


def test_verbose_tells_the_last_try_too():
    with sim.KmpMeter(always=sim.bad_crc) as meter:
        result = run(meter.port, 60, "--wait", 3, "-v")
    told = [line for line in result.err.splitlines() if line.startswith("a damaged answer (its CRC is wrong): ")]
    assert len(told) == len(meter.asked) == 2
    assert told[-1].endswith("; 0.0 s left")


def test_one_who_watches_slowly_does_not_make_the_answer_late():
    class Slow(kr.Watch):
        def trace(self, text: str) -> None:
            if text.startswith("->"):
                time.sleep(0.6)

    with sim.KmpMeter() as meter, kr.KmpMeter(meter.port, wait=0, timeout=0.3, watch=Slow()) as reader:
        assert reader.read(60).value == Decimal("16.235")


def test_a_day_of_tries_keeps_no_frames_of_python():
    """Each failure of a try is kept to the end, what it came from is not, even if nobody looks for garbage."""

    def failures() -> list[kr.TryFailed]:
        return [thing for thing in gc.get_objects() if isinstance(thing, kr.TryFailed)]

    kept: list[kr.TryFailed] = []

    class Watch(kr.Watch):
        def failed(self, why: str, left: float) -> None:
            kept[:] = failures()

    gc.collect()
    others = failures()
    gc.disable()
    try:
        with sim.KmpMeter(always=sim.bad_crc) as meter, pytest.raises(kr.Damaged):
            kr.KmpMeter(meter.port, wait=4, watch=Watch()).read(60)
    finally:
        gc.enable()
    new = [failure for failure in kept if not any(failure is other for other in others)]
    assert len(new) >= 2
    for failure in new:
        assert (failure.__traceback__, failure.__cause__, failure.__context__) == (None, None, None)


def test_another_speed():
    with sim.KmpMeter(baudrate=9600) as meter:
        assert run(meter.port, 60, "--wait", 0).code == 4
        assert run(meter.port, 60, "--baudrate", 9600).out == "16.235 GJ\n"


@pytest.mark.parametrize("meter_name", ["403", "601"])
def test_recorded_meters(meter_name):
    with sim.KmpMeter(sim.recorded(meter_name)) as meter:
        value = run(meter.port, "e1").out
    assert value == {"403": "55.648 MWh\n", "601": "0.002 MWh\n"}[meter_name]
