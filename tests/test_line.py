"""One exchange, attempts, `all`, and the times between them.

situation                                        test
------------------------------------------------ ---------------------------------------------
echo, 00, noise, restart, late response, twice   test_read_all_the_same
silence, damage, other responses for a while     test_retried
the same for ever                                test_given_up
empty responses                                  test_empty_response_...
responses that are late                          test_late_responses_lose_nothing_silently, ...
quiet times                                      test_rest_..., test_pause_..., test_a_byte_...
deadlines                                        test_ends_..., test_noise_...
a stopped process                                test_a_stopped_process_...
another program that reads the port              test_another_program_...
`all`                                            test_all_...
what is reported meanwhile                       test_progress_..., test_verbose_...
"""

from __future__ import annotations

import gc
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from decimal import Decimal

import pytest
import simulated_meter as sim
from fake_serial import FakeSerial, connect
from program import LIMIT, SLACK, command, environment, finish, run, start

import kamstrup_read as kr

BYTE_TIME = 11 / 1200  # s
REQUEST_TIME = 9 * BYTE_TIME  # s that the request for one register is on the wire
RESPONSE_TIME = 15 * BYTE_TIME  # s, with a 4-byte value
REGISTERS = sim.example()
EMPTY = sim.frame(0x40, b"\x3f\x10")
BAD_CRC = sim.frame(0x40, b"\x3f\x10" + sim.block(60, *REGISTERS[60]), crc_error=1)


def response_to(request: bytes) -> bytes:
    """What a healthy meter sends."""
    ids = sim.requested_registers(sim.content_of(request, 0x80))
    blocks = [sim.block(number, *REGISTERS[number]) for number in ids if number in REGISTERS]
    return sim.frame(0x40, b"\x3f\x10" + b"".join(blocks))


def right(request: bytes, _number: int):
    return [(0.01, response_to(request))]


def silent(_request: bytes, _number: int):
    return []


def sequence(*responses: bytes | None):
    """These responses, one after the other, and right ones from then on. None: silence."""

    def respond(request: bytes, number: int):
        if number >= len(responses):
            return right(request, number)
        response = responses[number]
        return [] if response is None else [(0.01, response)]

    return respond


def read_all(port, **options) -> tuple[list[int], str]:
    """The registers that `all` brought, and the message about the others."""
    found = []
    try:
        for reading in kr.Meter("port", **options).read_all():
            found.append(reading.register)
    except kr.KamstrupError as error:
        return found, str(error)
    return found, ""


# One register


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(sim.right, id="nothing wrong"),
        pytest.param(sim.around(before=b"\0"), id="a lone 00 first"),
        pytest.param(sim.around(before=b"\x55\xaa\x12\xff"), id="noise first"),
        pytest.param(sim.around(before=b"\x55\x0d\x40\x12\x0d\x40\x1b"), id="noise like frames"),
        pytest.param(sim.restart, id="the frame starts again in the middle"),
        pytest.param(sim.twice, id="two responses back to back"),
        pytest.param(sim.around(after=b"\x40\x3f\x10"), id="more after the response"),
        pytest.param(sim.late(1.5), id="the response starts 1.5 s late"),
        pytest.param(sim.around(before=bytes(range(0x41, 0x80)) * 300), id="20 kB of noise first"),
    ],
)
@pytest.mark.parametrize("echo", [False, True], ids=["", "echoing head"])
def test_read_all_the_same(fault, echo):
    with sim.KmpMeter(faults=[fault], echo=echo) as meter:
        run(meter.port, 60, "--wait", 10).printed("16.235 GJ")
        assert len(meter.requests) <= 2  # a slow computer may give up on what is 1.5 s late


@pytest.mark.parametrize("delay", [0, 1.55])
@pytest.mark.parametrize("registers", [[60], list(range(60, 68))], ids=["one register", "eight"])
def test_a_response_that_begins_in_time_is_never_given_up(monkeypatch, delay, registers):
    values = dict.fromkeys(registers, (8, 0x43, b"\x80\x40\x0d\x06" * 2 + b"\x1b\x1b"))
    blocks = b"".join(sim.block(number, *values[number]) for number in registers)
    response = sim.frame(0x40, b"\x3f\x10" + blocks)
    port = connect(monkeypatch, lambda _request, _number: [(delay, response)])
    readings = list(kr.Meter("port", wait=0).read_all(registers))
    assert len(readings) == len(registers)
    assert len(port.requests) == 1


@pytest.mark.parametrize(
    ("responses", "attempts"),
    [
        pytest.param([None], 2, id="one silence"),
        pytest.param([None] * 3, 4, id="asleep for three attempts"),
        pytest.param([BAD_CRC], 2, id="one bad CRC"),
        pytest.param([BAD_CRC[:8]], 2, id="cut in half"),
        pytest.param([sim.frame(0x40, b"\x3f\x11")], 2, id="another CID"),
        pytest.param([sim.frame(0x40, b"\x3e\x10")], 2, id="another address"),
        pytest.param([sim.frame(0x40, b"\x3f\x10\x00\x3c\x08\x05\x43\x00")], 2, id="lengths"),
        pytest.param([b"\x55" * 500], 2, id="rubbish"),
        pytest.param([EMPTY], 2, id="an empty response"),
        pytest.param([EMPTY, BAD_CRC], 3, id="an empty response, then a bad CRC"),
    ],
)
def test_retried(monkeypatch, responses, attempts):
    port = connect(monkeypatch, sequence(*responses))
    assert str(kr.Meter("port").read(60)) == "16.235 GJ"
    assert len(port.requests) == attempts


def test_retried_with_the_real_program():
    with sim.KmpMeter(faults=[sim.silence, sim.bad_crc, sim.FAULTS["register"]]) as meter:
        run(meter.port, 60, "--wait", 60).printed("16.235 GJ")
        assert meter.too_early == 0


@pytest.mark.parametrize(
    ("fault", "echo", "error"),
    [
        pytest.param(sim.silence, False, kr.NoResponseError, id="silence"),
        pytest.param(sim.silence, True, kr.EchoOnlyError, id="echo only"),
        pytest.param(sim.instead(b"\0"), False, kr.NoResponseError, id="a lone 00"),
        pytest.param(sim.cut, False, kr.DamagedResponseError, id="cut in half"),
        pytest.param(sim.bad_crc, True, kr.DamagedResponseError, id="bad CRC, echoing head"),
        pytest.param(sim.FAULTS["lengths"], False, kr.DamagedResponseError, id="lengths"),
        pytest.param(sim.FAULTS["register"], False, kr.WrongResponseError, id="other register"),
        pytest.param(sim.FAULTS["address"], False, kr.WrongResponseError, id="other address"),
        pytest.param(sim.FAULTS["cid"], False, kr.WrongResponseError, id="another CID"),
        pytest.param(sim.rubbish(), False, kr.DamagedResponseError, id="100 kB of rubbish"),
        pytest.param(sim.noise_without_end, False, kr.DamagedResponseError, id="endless noise"),
        pytest.param(sim.drip, False, kr.DamagedResponseError, id="a byte a second"),
        pytest.param(sim.instead(b"hello\r\n"), False, kr.DamagedResponseError, id="a text"),
    ],
)
def test_given_up(fault, echo, error):
    with sim.KmpMeter(always=fault, echo=echo) as meter:
        result = run(meter.port, 60, "--wait", 0)
        assert meter.too_early == 0
    line = result.failed(error.exit_code, error.seen, error.advice)
    assert "attempts" not in line  # there was one
    assert ("--protocol mc66" in line) == issubclass(error, kr.NoResponseError)


def test_the_number_of_attempts_is_reported(monkeypatch):
    connect(monkeypatch, silent)
    with pytest.raises(kr.NoResponseError, match="in 5 of 5 attempts: press a button"):
        kr.Meter("port").read(60)


def test_the_failure_that_says_most_is_reported(monkeypatch):
    responses = (None, BAD_CRC, None, BAD_CRC, *(None,) * 9)
    connect(monkeypatch, sequence(*responses))
    words = r"a damaged response in 2 of 5 attempts \(the last: its CRC is wrong\): press the head"
    with pytest.raises(kr.DamagedResponseError, match=words):
        kr.Meter("port").read(60)


def test_an_old_response_does_not_stand_for_a_new_one():
    """Read, wait, read again on the open port: what came in between is not the second response."""
    with sim.KmpMeter(faults=[sim.twice]) as meter, kr.Meter(meter.port) as reader:
        first = reader.read(60)
        time.sleep(0.2)
        meter.registers[60] = (8, 0x43, (16236).to_bytes(4, "big"))
        second = reader.read(60)
    assert (str(first), str(second)) == ("16.235 GJ", "16.236 GJ")


def test_bytes_from_before_the_request_count_for_nothing(monkeypatch):
    old = sim.frame(0x40, b"\x3f\x10" + sim.block(60, 8, 0x43, b"\0\0\0\1"))
    port = connect(monkeypatch, right)
    port.add(port.clock.now - 1, old)
    assert str(kr.Meter("port").read(60)) == "16.235 GJ"


def test_a_response_to_another_request_and_then_the_right_one(monkeypatch):
    other = sim.frame(0x40, b"\x3f\x10" + sim.block(84, *REGISTERS[84]))
    port = connect(monkeypatch, lambda request, _: [(0.01, other + response_to(request))])
    assert str(kr.Meter("port", wait=0).read(60)) == "16.235 GJ"
    assert len(port.requests) == 1


def test_a_late_response_does_not_stand_for_another_register():
    with sim.KmpMeter(faults=[sim.twice]) as meter, kr.Meter(meter.port) as reader:
        assert [str(reader.read(60)), str(reader.read(84))] == ["16.235 GJ", "147.307 m3"]


def test_each_byte_with_a_flipped_bit_never_brings_a_wrong_value(monkeypatch):
    good = response_to(kr.encode_request([60]))
    for at in range(len(good)):
        for bit in range(8):
            wrong = good[:at] + bytes((good[at] ^ 1 << bit,)) + good[at + 1 :]
            connect(monkeypatch, sequence(wrong))
            assert str(kr.Meter("port").read(60)) == "16.235 GJ"


# Empty responses: "no such register", or the late response to an earlier request


@pytest.mark.parametrize("wait", [0, 10])
def test_empty_response_is_believed_when_it_comes_again(monkeypatch, wait):
    port = connect(monkeypatch, lambda _request, _number: [(0.01, EMPTY)])
    with pytest.raises(kr.UnknownRegisterError, match="no register 61"):
        kr.Meter("port", wait=wait).read(61)
    assert len(port.requests) == 2
    assert port.clock.now - 1000 < 1  # at once


def test_empty_response_then_silence_then_another_one(monkeypatch):
    connect(monkeypatch, sequence(EMPTY, None, EMPTY))
    with pytest.raises(kr.UnknownRegisterError):
        kr.Meter("port").read(61)


def test_empty_response_alone_is_not_believed(monkeypatch):
    connect(monkeypatch, lambda _request, number: [(0.01, EMPTY)] if number == 0 else [])
    with pytest.raises(kr.NoResponseError):
        kr.Meter("port").read(61)


def test_a_register_that_the_meter_lacks():
    with sim.KmpMeter() as meter:
        run(meter.port, 61).failed(6, "no register 61", "all")
        assert meter.requests == [[61], [61]]


# Responses that are late


@pytest.mark.parametrize("delay", [1.55, 2.6, 3.0, 5.0])
def test_late_responses_lose_nothing(monkeypatch, delay):
    connect(monkeypatch, lambda request, _number: [(delay, response_to(request))])
    assert read_all("port") == (sorted(REGISTERS), "")


@pytest.mark.parametrize("delay", [19, 30])
def test_very_late_responses_are_not_lost_silently(monkeypatch, delay):
    connect(monkeypatch, lambda request, _number: [(delay, response_to(request))])
    found, message = read_all("port", wait=120)
    assert 60 in found
    assert found == sorted(REGISTERS) or "registers not read" in message


@pytest.mark.parametrize("delay", [3.0, 9.0])
@pytest.mark.parametrize("which", [0, 5, 7, 8, 9, 12, 20])
def test_one_late_response_loses_nothing(monkeypatch, delay, which):
    def respond(request: bytes, number: int):
        return [(delay if number == which else 0.01, response_to(request))]

    connect(monkeypatch, respond)
    assert read_all("port") == (sorted(REGISTERS), "")


def test_responses_that_are_too_late_are_not_lost_silently(monkeypatch):
    connect(monkeypatch, lambda request, _number: [(9.0, response_to(request))])
    found, message = read_all("port")
    number = re.search(r"\(([0-9]+) in all\)", message).group(1)
    assert int(number) + 16 >= len(kr.known_registers())
    assert found == sorted(REGISTERS)[: len(found)]


def test_all_of_a_meter_that_was_asleep_for_long_wastes_no_time(monkeypatch):
    """Of 500 requests without a response, no more than a few can still get one."""
    monkeypatch.setattr(sys.modules[__name__], "REGISTERS", {1004: REGISTERS[1004]})
    port = connect(monkeypatch, lambda *args: right(*args) if args[1] >= 500 else [])
    assert read_all("port", wait=3600) == ([1004], "")
    assert len(port.requests) < 1000


def test_late_responses_over_a_slow_network():
    with sim.KmpMeter(delay=0.3) as meter:
        result = run(meter.port, "all", "--timeout", 0.2, "--wait", 60)
    assert (result.code, result.err) == (0, "")
    assert [int(line.split()[0]) for line in result.out.splitlines()] == sorted(REGISTERS)


# Times, exactly


@pytest.mark.parametrize("response", [None, b"\0", BAD_CRC, BAD_CRC[:8]])
@pytest.mark.parametrize("timeout", [0.2, 2.0])
def test_rest_after_silence_and_damage_is_at_least_1_6_s(monkeypatch, response, timeout):
    quiet = []

    def respond(_request: bytes, number: int):
        quiet.append(port.requests[-1][0] - last_byte[0])
        last_byte[0] = port.clock.now + REQUEST_TIME + 0.01
        last_byte[0] += len(response or b"") * BYTE_TIME - (0 if response else 0.01)
        return [(0.01, response)] if response else []

    last_byte = [float("-inf")]
    port = connect(monkeypatch, respond)
    with pytest.raises(kr.AttemptError):
        kr.Meter("port", timeout=timeout).read(60)
    assert len(quiet) >= 5
    assert min(quiet[1:]) >= 1.6
    assert max(quiet[1:]) < max(timeout, kr.Kmp.rest) + 2 * kr.POLL_INTERVAL + 2 * REQUEST_TIME


def test_pause_after_a_response_is_a_byte_time(monkeypatch):
    quiet = []

    def respond(request: bytes, number: int):
        response = response_to(request)
        quiet.append(port.requests[-1][0] - ends[-1])
        wire = (len(request) + len(response)) * BYTE_TIME
        ends.append(port.requests[-1][0] + wire + 0.01 - BYTE_TIME)
        return [(0.01, response)]

    ends = [float("-inf")]
    port = connect(monkeypatch, respond)
    assert read_all("port") == (sorted(REGISTERS), "")
    assert len(port.requests) == 21  # a healthy meter is asked for nothing twice
    assert min(quiet[1:]) >= BYTE_TIME - 1e-6
    assert max(quiet[1:]) < BYTE_TIME + 0.02


@pytest.mark.parametrize("before_end", [1.0, 0.3, 0.049, 0.02, 0.001])
def test_a_byte_in_the_rest_makes_it_begin_again(monkeypatch, before_end):
    port = connect(monkeypatch, sequence(None))
    end = port.clock.now + REQUEST_TIME + kr.Kmp.rest
    port.add(end - before_end, b"\x55")
    assert str(kr.Meter("port", timeout=0.2).read(60)) == "16.235 GJ"
    assert port.requests[1][0] >= end - before_end + 1.6


def test_a_rest_that_ends_between_two_looks_at_the_clock(monkeypatch):
    for tick in (0.001, 0.004, 0.007, 0.011, 0.016, 0.023):
        port = connect(monkeypatch, sequence(None, BAD_CRC), tick=tick)
        assert str(kr.Meter("port", timeout=0.3).read(60)) == "16.235 GJ"
        assert len(port.requests) == 3


def test_a_request_goes_out_in_one_write(monkeypatch):
    port = connect(monkeypatch, right)
    kr.Meter("port").read(60)
    assert [data for _, data in port.requests] == [kr.encode_request([60])]


def test_a_reading_takes_the_time_on_the_wire(monkeypatch):
    port = connect(monkeypatch, right)
    kr.Meter("port").read(60)
    assert port.clock.now - 1000 < REQUEST_TIME + 0.01 + RESPONSE_TIME + 0.001


@pytest.mark.parametrize("wait", [0, 1, 4, 10])
@pytest.mark.parametrize("register", [60, "all"])
def test_ends_after_wait_and_one_attempt_at_the_latest(monkeypatch, wait, register):
    port = connect(monkeypatch, silent)
    reader = kr.Meter("port", wait=wait)
    with pytest.raises(kr.NoResponseError):
        list(reader.read_all()) if register == "all" else reader.read(register)
    ended = port.clock.now - 1000
    assert ended < wait + 23 * BYTE_TIME + kr.Kmp.timeout + 2 * kr.POLL_INTERVAL
    assert ended > wait - kr.Kmp.rest
    assert len(port.requests) == 1 + int(wait / (REQUEST_TIME + kr.Kmp.timeout + 0.25))


@pytest.mark.parametrize("wait", [0, 10])
@pytest.mark.parametrize("interval", [0.003, 0.04, 1.0], ids=["noise", "slow noise", "drip"])
def test_noise_without_end_ends(monkeypatch, wait, interval):
    port = connect(monkeypatch, silent)
    for number in range(int(40 / interval)):
        port.add(port.clock.now + number * interval, b"\x55")
    with pytest.raises(kr.DamagedResponseError):
        kr.Meter("port", wait=wait).read(60)
    longest = kr.Kmp.longest_response * BYTE_TIME
    assert port.clock.now - 1000 < wait + 2 * kr.Kmp.rest + kr.Kmp.timeout + longest + 1


def test_noise_between_two_attempts_is_damage(monkeypatch):
    port = connect(monkeypatch, silent)
    for number in range(4000):
        port.add(port.clock.now + 2.2 + number * 0.01, b"\x55")
    with pytest.raises(kr.DamagedResponseError, match="bytes without"):
        kr.Meter("port").read(60)


def test_a_silent_meter_costs_the_processor_next_to_nothing(monkeypatch):
    port = connect(monkeypatch, silent)
    with pytest.raises(kr.NoResponseError):
        kr.Meter("port", wait=0).read(60)
    assert port.reads <= (kr.Kmp.timeout + REQUEST_TIME) / kr.POLL_INTERVAL + 3


def test_what_is_kept_of_a_flood_is_bounded(monkeypatch):
    port = connect(monkeypatch, lambda _request, _number: [(0, b"\x55" * 100)])
    longest = []
    for _ in range(10):
        port.add(port.clock.now, b"\x55" * 1500)
    line = kr.Line("port", 1200, 0.0, 1.65)
    line.open(port.clock.now)
    line.write(b"?")
    line.receive(lambda received: longest.append(len(received)), 2.0, 200)
    assert 0 < max(longest) <= kr.LONGEST_RECEIVED


@pytest.mark.parametrize("size", [8000, 12000, 40000])
def test_a_response_behind_a_burst_of_noise(monkeypatch, size):
    """More than is kept, at once: as through a network."""
    monkeypatch.setattr(FakeSerial, "byte_time", lambda port: 0.0)
    connect(
        monkeypatch,
        lambda request, _number: [(0.01, b"\x55" * size), (0.2, response_to(request))],
    )
    assert str(kr.read_register("port", 60, wait=0)) == "16.235 GJ"


def test_noise_between_two_attempts_is_not_kept(monkeypatch):
    noise = [(second / 2, b"\x55" * 400) for second in range(40)]
    connect(monkeypatch, lambda _request, number: [] if number else noise)
    meter = kr.Meter("port", wait=20)
    with pytest.raises(kr.DamagedResponseError):
        meter.read(60)
    assert len(meter._line.received) <= kr.LONGEST_RECEIVED


def test_a_day_of_attempts_keeps_no_frames_of_python(monkeypatch):
    kept: list[kr.AttemptError] = []

    def look(_text: str) -> None:
        found = [thing for thing in gc.get_objects() if isinstance(thing, kr.AttemptError)]
        kept[:] = [failure for failure in found if str(failure) == "its CRC is wrong"]

    gc.collect()
    connect(monkeypatch, lambda _request, _number: [(0.01, BAD_CRC)])
    with pytest.raises(kr.DamagedResponseError):
        kr.Meter("port", wait=20, progress=look).read(60)
    assert len(kept) >= 5
    for failure in kept:
        assert (failure.__traceback__, failure.__cause__, failure.__context__) == (None,) * 3


# `all`


def test_all_prints_what_the_meter_has():
    with sim.KmpMeter() as meter:
        result = run(meter.port, "all")
        assert [len(group) for group in meter.requests[:-1]] == [8] * (len(meter.requests) - 1)
    assert (result.code, result.err) == (0, "")
    assert [int(line.split()[0]) for line in result.out.splitlines()] == sorted(REGISTERS)


@pytest.mark.parametrize("name", ["403", "601"])
def test_all_of_a_recorded_meter(name):
    with sim.KmpMeter(sim.recorded(name)) as meter:
        result = run(meter.port, "ALL")
    numbers = [int(line.split()[0]) for line in result.out.splitlines()]
    assert numbers == sorted(meter.registers)


@pytest.mark.parametrize(
    "poison", [(84,), (60, 84), (67, 68), (1010,), (61, 62), (68, 69), (86, 87), (1002, 1003)]
)
def test_all_but_a_register_that_silences_the_meter(monkeypatch, poison):
    def respond(request: bytes, number: int):
        ids = sim.requested_registers(sim.content_of(request, 0x80))
        return [] if set(poison) & set(ids) else right(request, number)

    connect(monkeypatch, respond)
    found, message = read_all("port")
    assert found == sorted(set(REGISTERS) - set(poison))
    names = ", ".join(map(str, poison))
    assert message.startswith(f"registers not read: {names}; no response")


def test_all_of_a_silent_meter_asks_for_the_first_group_only(monkeypatch):
    port = connect(monkeypatch, silent)
    _, message = read_all("port")
    assert len({data for _, data in port.requests}) == 1
    assert message.startswith("no response from the meter")


def test_all_of_a_meter_that_falls_asleep(monkeypatch):
    port = connect(monkeypatch, lambda *args: right(*args) if args[1] < 6 else [])
    found, message = read_all("port")
    assert found == [number for number in sorted(REGISTERS) if number < 114]
    assert "registers not read" in message
    last_response = port.requests[5][0]
    assert port.clock.now < last_response + 10 + 3


def test_wait_runs_from_the_last_sound_response(monkeypatch):
    """Every sixth request fails: the whole takes longer than --wait, and that is no failure."""
    port = connect(monkeypatch, lambda *args: right(*args) if args[1] % 6 else [])
    assert read_all("port", wait=4) == (sorted(REGISTERS), "")
    assert port.clock.now - 1000 > 20


def test_all_with_one_bad_response_loses_nothing(monkeypatch):
    for which in range(21):
        connect(monkeypatch, lambda *args: [(0.01, BAD_CRC)] if args[1] == which else right(*args))  # noqa: B023
        assert read_all("port") == (sorted(REGISTERS), "")


def test_all_of_a_meter_that_has_none_of_them():
    with sim.KmpMeter({5000: (8, 0, b"\1")}) as meter:
        run(meter.port, "all").failed(6, "none of the known registers")


def test_all_of_a_meter_that_is_unplugged():
    with sim.KmpMeter(faults=[sim.right] * 9, always=sim.unplug()) as meter:
        result = run(meter.port, "all")
    assert result.code == 0
    assert result.out.startswith("   60  E1")
    assert "vanished" in result.err
    assert result.err.count("\n") == 1


# The real program and other programs


def test_real_pace():
    with sim.KmpMeter(pace=True) as meter:
        result = run(meter.port, 60)
    result.printed("16.235 GJ")
    assert result.seconds > 0.2


def test_another_baudrate():
    with sim.KmpMeter(baudrate=9600) as meter:
        run(meter.port, 60, "--wait", 0).failed(4)
        run(meter.port, 60, "--baudrate", 9600).printed("16.235 GJ")


@pytest.mark.parametrize("name", ["403", "601"])
def test_recorded_meters(name):
    with sim.KmpMeter(sim.recorded(name)) as meter:
        result = run(meter.port, "e1")
    result.printed({"403": "55.648 MWh", "601": "0.002 MWh"}[name])


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3])
def test_a_stopped_process_finds_the_response_in_the_buffer(seconds):
    """Stopped for longer than the time-out, at different moments after the request."""
    with sim.KmpMeter(faults=[sim.late(0.4)]) as meter:
        job = start(meter.port, 60, "--wait", 0)
        while not meter.requests:
            time.sleep(0.01)
        time.sleep(seconds)
        job.send_signal(signal.SIGSTOP)
        time.sleep(5)
        job.send_signal(signal.SIGCONT)
        finish(job).printed("16.235 GJ")


def test_another_program_that_reads_the_port_for_a_while():
    with sim.KmpMeter(pace=True) as meter:
        with sim.Thief(meter.port):
            job = start(meter.port, 60, "--wait", 60)
            while len(meter.requests) < 2 and job.poll() is None:
                time.sleep(0.01)
        finish(job).printed("16.235 GJ")


def test_another_program_that_reads_the_port_all_the_time():
    with sim.KmpMeter(pace=True) as meter, sim.Thief(meter.port):
        result = run(meter.port, 60, "--wait", 6)
        attempts = len(meter.requests)
    if result.code != 0:  # it may be lucky
        assert result.code in (4, 5)
        assert attempts >= 2
        line = result.failed(result.code)
        assert f"{attempts} attempts" in line or "in 1 of" in line
        if result.code == 5:
            assert f"another program is reading from {meter.port}" in line or "damaged" in line


class StolenSerial(FakeSerial):
    """Bytes are announced without end, but another program is always faster."""

    in_waiting = 3

    def read(self, size: int) -> bytes:
        super().read(0)
        return b""


def test_another_program_that_takes_each_byte_that_is_announced(monkeypatch):
    connect(monkeypatch, silent, kind=StolenSerial)
    with pytest.raises(kr.PortSharedError, match="reading from port in 7 of 7 attempts: stop it"):
        kr.Meter("port", wait=10).read(60)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError("device reports readiness to read but returned no data"), kr.PortSharedError),
        (OSError(5, "Input/output error"), kr.ConnectionLostError),
        (termios.error(5, "Input/output error"), kr.ConnectionLostError),
    ],
)
def test_an_error_of_a_port_that_is_still_there_is_retried(monkeypatch, error, raised):
    port = connect(monkeypatch, right)
    monkeypatch.setattr(port, "port", "/dev/null")
    monkeypatch.setattr(port, "read", lambda _size: (_ for _ in ()).throw(error))
    with pytest.raises(raised) as caught:
        kr.Meter("/dev/null").read(60)
    attempts = int(re.search("of ([0-9]+) attempts", str(caught.value)).group(1))
    assert attempts >= 5
    assert "/dev/null" in str(caught.value)
    assert ("(the last: Input/output error)" in str(caught.value)) == (error.args[0] == 5)


def test_an_error_of_a_port_that_is_gone_is_final(monkeypatch):
    port = connect(monkeypatch, right)
    monkeypatch.setattr(port, "port", "/dev/none")
    monkeypatch.setattr(port, "read", lambda _size: (_ for _ in ()).throw(OSError("any words")))
    with pytest.raises(kr.PortError, match="vanished: was the IR head unplugged"):
        kr.Meter("/dev/none").read(60)
    assert len(port.requests) == 1


def test_two_jobs_before_a_sleeping_meter():
    with sim.KmpMeter(always=sim.silence) as meter:
        first = start(meter.port, 60, "--wait", 1000)
        while not meter.requests:
            time.sleep(0.01)
        second = run(meter.port, 84, "--wait", 2)
        first.send_signal(signal.SIGINT)
        finish(first)
    second.failed(3, "another reading is waiting for the meter")


# What is reported meanwhile


def on_a_terminal(*args: object) -> tuple[int, str, list[str]]:
    """Exit code, stdout, and the lines that a terminal got on stderr."""
    terminal, slave = pty.openpty()
    job = subprocess.Popen(
        command(*args), env=environment(), stdout=subprocess.PIPE, stderr=slave, encoding="utf-8"
    )
    os.close(slave)
    shown = b""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                shown += os.read(terminal, 4096)
            except OSError:
                break
    out = job.communicate(timeout=SLACK)[0]
    os.close(terminal)
    return job.returncode, out, shown.decode().splitlines()


def test_progress_on_a_terminal_says_how_each_attempt_failed():
    with sim.KmpMeter(faults=[sim.silence, sim.bad_crc], echo=True) as meter:
        code, out, lines = on_a_terminal(meter.port, 60, "--wait", 60)
    assert (code, out) == (0, "16.235 GJ\n")
    assert lines[0].startswith(f"{kr.EchoOnlyError.seen}: {kr.EchoOnlyError.advice}")
    assert lines[1].startswith(f"{kr.DamagedResponseError.seen} (its CRC is wrong): ")
    for line in lines:
        assert re.search("; [0-9]+ s left$", line)


def test_the_last_failure_is_in_the_error_alone():
    with sim.KmpMeter(always=sim.silence) as meter:
        code, _, lines = on_a_terminal(meter.port, 60, "--wait", 0)
    assert code == 4
    assert len(lines) == 1
    assert lines[0].startswith(f"kamstrup_read: {kr.NoResponseError.seen}")


def test_a_busy_port_is_reported_once(monkeypatch):
    port = connect(monkeypatch, right)
    busy_until = port.clock.now + 3
    lines = []

    def open_serial(_name: str, _baudrate: int):
        if port.clock.now < busy_until:
            raise kr.PortBusyError("port is busy")
        return port

    monkeypatch.setattr(kr, "_open_serial", open_serial)
    reading = kr.Meter("port", progress=lines.append).read(60)
    assert str(reading) == "16.235 GJ"
    assert lines == ["port is busy; 10 s left"]
    assert port.requests[0][0] >= busy_until + BYTE_TIME


def test_nothing_is_reported_where_nothing_goes_wrong():
    with sim.KmpMeter() as meter:
        assert on_a_terminal(meter.port, 60) == (0, "16.235 GJ\n", [])


def test_attempts_are_not_reported_on_a_pipe():
    with sim.KmpMeter(faults=[sim.silence]) as meter:
        run(meter.port, 60, "--wait", 60).printed("16.235 GJ")


@pytest.mark.parametrize("echo", [False, True])
def test_verbose_shows_every_frame_and_attempt(monkeypatch, echo):
    lines = []
    port = connect(monkeypatch, sequence(None))
    port.echo = echo
    kr.Meter("port", log=lines.append).read(60)
    request = "80 3f 10 01 00 3c b2 5f 0d"
    response = "40 3f 10 00 3c 08 04 43 00 00 3f 6b 15 59 0d"
    echoed = f"{request} " if echo else ""
    seen = kr.EchoOnlyError if echo else kr.NoResponseError
    expected = [f"-> {request}", f"<- {request}"] if echo else [f"-> {request}"]
    assert lines[: len(expected)] == expected
    assert lines[len(expected)].startswith(seen.seen)
    assert lines[len(expected) + 1 :] == [f"-> {request}", f"<- {echoed}{response}"]


def test_one_who_reads_the_log_slowly_does_not_make_the_response_late(monkeypatch):
    port = connect(monkeypatch, right)
    meter = kr.Meter("port", wait=0, timeout=0.3, log=lambda _text: port.clock.sleep(0.6))
    assert meter.read(60).value == Decimal("16.235")
