"""One exchange, attempts, `all`, and the times between them.

situation                                        test
------------------------------------------------ ---------------------------------------------
echo, noise, restart, late response              test_read_at_the_first_attempt
silence, damage, other responses                 test_given_up_and_retried, test_retried_...
empty responses                                  test_an_empty_response_...
a response to a job that was stopped             test_a_stopped_job_...
responses that are late                          test_late_responses_...
all of these at random                           test_random_sessions_...
quiet times                                      test_rest_..., test_pause_..., test_a_byte_...
deadlines                                        test_ends_..., test_noise_...
a stopped process, a slow import                 test_a_stopped_process_..., test_a_slow_import_...
another program that reads the port              test_another_program_...
`all`                                            test_all_...
what is reported meanwhile                       test_the_failure_..., test_verbose_...
"""

from __future__ import annotations

import itertools
import random
import re
import termios

import pytest
import simulated_meter as sim
from fake_serial import FakeSerial, connect
from program import run

import kamstrup_read as kr

BYTE_TIME = 11 / 1200  # s
REQUEST_TIME = 9 * BYTE_TIME  # s that the request for one register is on the wire
REST = 1.6  # s
TIMEOUT = 2.0  # s
ATTEMPT = TIMEOUT + 240 * BYTE_TIME  # s, with the longest request and response
KNOWN = list(kr.known_registers())
GROUPS = [KNOWN[first : first + 8] for first in range(0, len(KNOWN), 8)]
REGISTERS = sim.example()
ELECTRICITY = {number: (2, 0x43, (number + 500).to_bytes(4, "big")) for number in KNOWN[:12]}
OTHER = sim.frame(0x40, b"\x3f\x10" + sim.block(84, *REGISTERS[84]))


def response_to(request: bytes, registers: sim.Registers = REGISTERS) -> bytes:
    """What a healthy meter sends."""
    ids = sim.requested_registers(sim.content_of(request, 0x80))
    blocks = [sim.block(number, *registers[number]) for number in ids if number in registers]
    return sim.frame(0x40, b"\x3f\x10" + b"".join(blocks))


def faulty(*first: sim.Fault, always: sim.Fault = sim.right):
    """A meter whose first responses have these faults, each for half a minute at the most."""

    def respond(request: bytes, number: int):
        chunks = []
        delay = 0.01
        fault = first[number] if number < len(first) else always
        for pause, data in itertools.islice(fault(None, request, response_to(request)), 10_000):
            delay += pause
            if delay > 30:
                break
            chunks.append((delay, data))
            delay += len(data) * BYTE_TIME
        return chunks

    return respond


right = faulty()
silent = faulty(always=sim.silence)


def read_all(**options) -> tuple[list[kr.Reading], str]:
    """The readings that `all` brought, and the message about the others."""
    found = []
    try:
        for reading in kr.Meter("port", **options).read_all():
            found.append(reading)
    except kr.KamstrupError as error:
        return found, str(error)
    return found, ""


def readings_of(registers: sim.Registers) -> list[kr.Reading]:
    """What `all` should bring."""
    blocks = {number: kr.Block(row[0], row[1], row[2]) for number, row in registers.items()}
    return [kr.decode_block(number, blocks[number]) for number in sorted(blocks)]


def assert_nothing_lost(registers: sim.Registers, found: list[kr.Reading], message: str) -> None:
    """Each value is right, and each register is among them or named; or it failed as a whole."""
    assert found == [reading for reading in readings_of(registers) if reading in found]
    if message and not found:
        return
    named: set[int] = set()
    for name in message.partition(":")[0].replace("could not read", "").split(","):
        if name.startswith(" from"):
            named.update(range(int(name.split()[1]), 0x10000))
        elif name:
            named.add(int(name))
    numbers = {reading.register for reading in found}
    assert not named & numbers
    assert set(registers) <= named | numbers


# One register


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(sim.right, id="nothing wrong"),
        pytest.param(sim.around(before=b"\x55\x0d\x40\x12\x0d\x40\x1b"), id="noise like frames"),
        pytest.param(sim.around(before=OTHER), id="another register's response first"),
        pytest.param(sim.restart, id="the frame starts again in the middle"),
        pytest.param(sim.late(1.98), id="the response starts 1.99 s late"),
    ],
)
@pytest.mark.parametrize("echo", [False, True], ids=["", "echoing head"])
def test_read_at_the_first_attempt(monkeypatch, fault, echo):
    port = connect(monkeypatch, faulty(fault))
    port.echo = echo
    assert str(kr.read_register("port", 60, wait=0)) == "16.235 GJ"
    assert len(port.requests) == 1


@pytest.mark.parametrize("delay", [0.01, 1.55])
@pytest.mark.parametrize("registers", [KNOWN[:1], KNOWN[:8]], ids=["one register", "eight"])
def test_a_response_that_begins_in_time_is_received_to_its_end(monkeypatch, delay, registers):
    """The longest: each byte stuffed."""
    values = dict.fromkeys(registers, (8, 0x43, b"\x80\x40\x0d\x06" * 2 + b"\x1b\x1b"))
    port = connect(monkeypatch, lambda request, _: [(delay, response_to(request, values))])
    assert read_all(wait=0) == (readings_of(values), "")
    assert len(port.requests) == len(GROUPS) + 1  # the first twice


SILENT = kr.NoResponseError, "no response from the meter"
ECHO_ONLY = kr.NoResponseError, "only the head's echo"
DAMAGED = kr.DamagedResponseError, "a damaged response"


@pytest.mark.parametrize(
    ("fault", "echo", "expected", "details"),
    [
        pytest.param(sim.silence, False, SILENT, "", id="silence"),
        pytest.param(sim.silence, True, ECHO_ONLY, "", id="echo only"),
        pytest.param(sim.instead(b"\0"), False, SILENT, "", id="a lone 00"),
        pytest.param(sim.cut, False, DAMAGED, "7 bytes", id="cut in half"),
        pytest.param(sim.bad_crc, True, DAMAGED, "CRC", id="bad CRC, echoing head"),
        pytest.param(sim.instead(OTHER), True, DAMAGED, "register 84", id="other register"),
        pytest.param(sim.FAULTS["address"], False, DAMAGED, "another request", id="other address"),
        pytest.param(sim.noise_without_end, False, DAMAGED, "", id="endless noise"),
        pytest.param(sim.drip, False, DAMAGED, "bytes", id="a byte a second"),
    ],
)
def test_given_up_and_retried(monkeypatch, fault, echo, expected, details):
    error, seen = expected
    connect(monkeypatch, faulty(always=fault)).echo = echo
    with pytest.raises(error) as caught:
        kr.read_register("port", 60, wait=0)
    message = str(caught.value)
    assert message.startswith(f"{seen}: ")
    assert details in message
    assert "attempts" not in message  # there was one
    assert ("--protocol mc66" in message) == (error is kr.NoResponseError)
    assert "8N2" not in message  # that is for network ports
    for times in (1, 3):
        port = connect(monkeypatch, faulty(*[fault] * times))
        port.echo = echo
        assert str(kr.read_register("port", 60, wait=100)) == "16.235 GJ"
        assert len(port.requests) > times
        assert {request for _, request in port.requests} == {kr.encode_request([60])}


def test_retried_by_the_real_program():
    with sim.KmpMeter(faults=[sim.silence, sim.bad_crc], echo=True) as meter:
        run(meter.port, 60, "--wait", 100).printed("16.235 GJ")
        assert meter.too_early == 0
        assert len(meter.requests) >= 3


def test_the_failure_that_is_reported_is_the_last_that_is_more_than_silence(monkeypatch):
    for failures, words in (
        ([sim.silence] * 9, r"no response from the meter: .*mc66.* \(5 attempts\)"),
        ([sim.cut, sim.bad_crc, *[sim.silence] * 3], r"a damaged .*CRC.* \(5 attempts\)"),
    ):
        connect(monkeypatch, faulty(*failures))
        with pytest.raises(kr.AttemptError) as caught:
            kr.read_register("port", 60)
        assert re.fullmatch(words, str(caught.value))


def test_bytes_from_before_the_request_count_for_nothing(monkeypatch):
    port = connect(monkeypatch, right)
    old = sim.frame(0x40, b"\x3f\x10" + sim.block(60, 8, 0x43, b"\0\0\0\1"))
    port.add(port.clock.now - 1, old)
    assert str(kr.read_register("port", 60)) == "16.235 GJ"


# Empty responses: "no such register", or the late response to an earlier request


@pytest.mark.parametrize(
    ("faults", "outcome", "requests"),
    [
        ([sim.empty], "16.235 GJ", 2),
        ([sim.empty, sim.bad_crc], "16.235 GJ", 3),
        ([sim.empty] * 9, kr.UnknownRegisterError, 2),
        ([sim.empty, sim.silence, sim.empty], kr.UnknownRegisterError, 3),
        ([sim.silence, sim.empty, sim.empty], kr.UnknownRegisterError, 3),
        ([sim.silence, sim.empty, *[sim.silence] * 9], kr.NoResponseError, 6),
    ],
)
def test_an_empty_response_is_believed_when_it_comes_again(monkeypatch, faults, outcome, requests):
    port = connect(monkeypatch, faulty(*faults))
    try:
        seen = str(kr.read_register("port", 60))
    except kr.MeterError as error:
        seen = type(error)
    assert (seen, len(port.requests)) == (outcome, requests)
    assert port.quiet[1] < REST or faults[0] is sim.silence  # requested again at once


def test_an_empty_response_is_believed_at_once_where_none_can_be_late(monkeypatch):
    port = connect(monkeypatch, right)
    with kr.Meter("port") as meter:
        meter.read(60)
        with pytest.raises(kr.UnknownRegisterError, match="no such register"):
            meter.read(61)
    assert len(port.requests) == 2


def test_empty_responses_that_may_be_late_ones_end(monkeypatch):
    connect(monkeypatch, faulty(*[sim.silence] * 20, always=sim.empty))
    with kr.Meter("port", wait=0) as meter:
        for error in [kr.NoResponseError] * 20 + [kr.DamagedResponseError]:
            with pytest.raises(error):
                meter.read(60)


# A job that was stopped after its request: its response comes to the next one


@pytest.mark.parametrize(
    ("registers", "requested"),
    [*((REGISTERS, numbers) for numbers in ([61], [60], [59, 60])),
     *((ELECTRICITY, numbers) for numbers in ([60], [1], [3], KNOWN[:8]))],
)  # fmt: skip
@pytest.mark.parametrize("discards", [False, True], ids=["", "meanwhile it discards requests"])
def test_a_stopped_job_loses_nothing_of_all(monkeypatch, registers, requested, discards):
    def respond(request: bytes, number: int):
        return [] if number < discards else [(0.01, response_to(request, registers))]

    late = response_to(kr.encode_request(requested), registers)
    for delay in (-0.2, -0.05, 0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6, 1.0, 1.5, 1.9, 2.5):
        port = connect(monkeypatch, respond)
        port.deliver(port.clock.now + delay, late)
        assert read_all() == (readings_of(registers), "")


# Responses that are late


@pytest.mark.parametrize("registers", [REGISTERS, ELECTRICITY], ids=["heat", "electricity"])
@pytest.mark.parametrize("delay", [1.55, 2.0, 2.6, 3.0, 4.0, 5.0, 9.0, 12.0, 30.0])
def test_late_responses_are_not_lost_silently(monkeypatch, registers, delay):
    for wait, which in itertools.product((10, 120), ("each", *range(0, len(GROUPS), 3))):
        connect(
            monkeypatch,
            lambda request, number: [
                (delay if which in ("each", number) else 0.01, response_to(request, registers))  # noqa: B023
            ],
        )
        found, message = read_all(wait=wait)
        assert_nothing_lost(registers, found, message)
        assert found or delay > wait
        assert not message or delay > 3


def test_all_of_a_meter_that_was_asleep_for_long_wastes_no_time(monkeypatch):
    """Of 500 requests without a response, no more than a few can still get one."""
    registers = {1004: REGISTERS[1004]}

    def respond(request: bytes, number: int):
        return [(0.01, response_to(request, registers))] if number >= 500 else []

    port = connect(monkeypatch, respond)
    assert read_all(wait=3600) == (readings_of(registers), "")
    assert len(port.requests) < 1000


def random_session(monkeypatch, seed: int) -> None:
    """`all` of a meter with some registers, after a stopped job, on a bad line."""
    chance = random.Random(seed)
    density = chance.choice((0.05, 0.3, 0.9))
    numbers = [60, *(number for number in KNOWN if chance.random() < density)]
    registers = {number: (2, 0, number.to_bytes(4, "big")) for number in numbers}
    silence, damage, lateness = (chance.choice((0, 0.03, 0.1, 0.4)) for _ in range(3))
    longest = chance.choice((3, 9, 30))
    constant = chance.choice((0.01, 0.01, longest))

    def respond(request: bytes, _number: int):
        response = response_to(request, registers)
        if chance.random() < silence:
            return []
        if chance.random() < damage:
            fault = chance.choice((sim.cut, sim.restart, sim.twice, sim.bad_crc))
            ((_, response),) = fault(None, request, response)
        return [(chance.uniform(0, longest) if chance.random() < lateness else constant, response)]

    port = connect(monkeypatch, respond)
    port.clock.tick = chance.choice((0, 0, 0.007, 0.023))
    first = chance.choice((0, 0, chance.randrange(len(KNOWN))))
    stopped = kr.encode_request(KNOWN[first : first + chance.choice((1, 8))])
    port.deliver(port.clock.now + chance.uniform(-0.2, 2.5), response_to(stopped, registers))
    found, message = read_all(wait=chance.choice((0, 10, 30, 120)))
    assert_nothing_lost(registers, found, message)


@pytest.mark.parametrize("start", range(0, 240, 30))
def test_random_sessions_lose_nothing_silently_and_bring_no_wrong_value(monkeypatch, start):
    for seed in range(start, start + 30):
        random_session(monkeypatch, seed)


# Times, exactly


@pytest.mark.parametrize("fault", [sim.silence, sim.instead(b"\0"), sim.bad_crc, sim.cut])
@pytest.mark.parametrize("timeout", [0.2, 2.0])
def test_rest_after_silence_and_damage_is_at_least_1_6_s(monkeypatch, fault, timeout):
    port = connect(monkeypatch, faulty(always=fault))
    with pytest.raises(kr.AttemptError):
        kr.read_register("port", 60, timeout=timeout)
    assert len(port.requests) >= 5
    assert min(port.quiet[1:]) >= REST
    assert max(port.quiet[1:]) < max(timeout, REST) + 0.2


def test_pause_after_a_response_is_a_byte_time(monkeypatch):
    port = connect(monkeypatch, right)
    assert read_all() == (readings_of(REGISTERS), "")
    assert min(port.quiet[1:]) >= BYTE_TIME - 1e-6
    assert max(port.quiet[1:]) < BYTE_TIME + 0.02
    # A healthy meter gets each request once, from the first that is not empty on.
    first = [bool(set(group) & set(REGISTERS)) for group in GROUPS].index(True)
    assert len(port.requests) == len(GROUPS) + first + 1


@pytest.mark.parametrize("before_end", [1.0, 0.3, 0.049, 0.02, 0.001])
def test_a_byte_in_the_rest_makes_it_begin_again(monkeypatch, before_end):
    port = connect(monkeypatch, faulty(sim.silence))
    end = port.clock.now + REQUEST_TIME + REST + 0.05
    port.add(end - before_end, b"\x55")
    assert str(kr.read_register("port", 60, timeout=0.2)) == "16.235 GJ"
    assert port.requests[1][0] >= end - before_end + REST


def test_a_reading_is_one_write_and_takes_the_time_on_the_wire(monkeypatch):
    port = connect(monkeypatch, right)
    kr.read_register("port", 60)
    assert [request for _, request in port.requests] == [kr.encode_request([60])]
    assert port.clock.now == pytest.approx(1000 + REQUEST_TIME + 0.01 + 14 * BYTE_TIME)


@pytest.mark.parametrize(
    ("wait", "timeout"), [(0, 2), (1, 2), (4, 2), (60, 2), (4, 0.3), (5, 0.3), (6, 0.3)]
)
@pytest.mark.parametrize("register", [60, "all"])
@pytest.mark.parametrize("fault", [sim.silence, sim.bad_crc], ids=["silence", "damage"])
def test_ends_after_wait_and_one_attempt_at_the_latest(monkeypatch, wait, timeout, register, fault):
    port = connect(monkeypatch, faulty(always=fault))
    reader = kr.Meter("port", wait=wait, timeout=timeout)
    with pytest.raises(kr.AttemptError):
        list(reader.read_all()) if register == "all" else reader.read(register)
    assert wait - REST - 0.3 < port.clock.now - 1000 < wait + ATTEMPT
    assert max(sent for sent, _ in port.requests) - 1000 <= wait
    assert len({request for _, request in port.requests}) == 1  # of `all`, the first group


@pytest.mark.parametrize("wait", [0, 10])
@pytest.mark.parametrize("interval", [0.003, 0.04, 1.0], ids=["noise", "slow noise", "drip"])
@pytest.mark.parametrize("begins", [-1.0, 0.3, 2.2], ids=["before", "in", "after the attempt"])
def test_noise_without_end_ends(monkeypatch, wait, interval, begins):
    port = connect(monkeypatch, silent)
    for number in range(int(40 / interval)):
        port.add(port.clock.now + begins + number * interval, b"\x55")
    with pytest.raises(kr.AttemptError) as caught:
        kr.read_register("port", 60, wait=wait)
    comes_in_time = wait > 0 or begins < 2
    assert type(caught.value) is (DAMAGED if comes_in_time else SILENT)[0]
    assert port.clock.now - 1000 < wait + 2 * REST + ATTEMPT


@pytest.mark.parametrize("size", [8000, 12000, 40000])
def test_a_response_behind_a_burst_of_noise(monkeypatch, size):
    """More than is kept, at once: as through a network."""
    monkeypatch.setattr(FakeSerial, "byte_time", lambda port: 0.0)
    noise = (0.01, b"\x55" * size)
    connect(monkeypatch, lambda request, _number: [noise, (0.2, response_to(request))])
    assert str(kr.read_register("port", 60, wait=0)) == "16.235 GJ"


# A process that is stopped, or busy with something else


@pytest.mark.parametrize("delay", [0.01, 1.5])
@pytest.mark.parametrize("seconds", [0.5, 5.0])
def test_a_stopped_process_finds_the_response_in_the_buffer(monkeypatch, delay, seconds):
    """Stopped after each look at the clock, one after the other."""
    for stop in itertools.count():
        port = connect(monkeypatch, lambda request, _: [(delay, response_to(request))])
        port.clock.stops = {stop: seconds}
        assert str(kr.read_register("port", 60, wait=0)) == "16.235 GJ"
        assert len(port.requests) == 1
        if stop > port.clock.looks:
            break


@pytest.mark.parametrize("echo", [False, True])
def test_a_slow_import_loses_no_response(monkeypatch, echo):
    """It is called between sending and receiving; it and the log take longer than the timeout."""
    events = []

    def respond(request: bytes, number: int):
        events.append("request")
        return right(request, number)

    def log(text: str) -> None:
        events.append(text[:2])
        port.clock.sleep(3)

    def idle() -> None:
        events.append("idle")
        port.clock.sleep(7)

    port = connect(monkeypatch, respond)
    port.echo = echo
    hooks = kr.Hooks(log, kr.ignore, idle)
    assert str(kr.read_register("port", 60, wait=0, hooks=hooks)) == "16.235 GJ"
    assert events == ["->", "request", "idle", "<-"]


# Another program that reads the port


class StolenSerial(FakeSerial):
    """Bytes are announced without end, but another program is always faster."""

    in_waiting = 3

    def read(self, size: int) -> bytes:
        super().read(1)
        return b""


def test_another_program_that_takes_each_byte_that_is_announced(monkeypatch):
    port = connect(monkeypatch, silent, kind=StolenSerial)
    with pytest.raises(kr.AttemptError):
        kr.read_register("port", 60)
    assert len(port.requests) >= 4
    assert port.clock.now - 1000 < 10 + ATTEMPT


@pytest.mark.parametrize(
    "error", [OSError("no data"), termios.error(5, "I/O error"), TypeError("NoneType")], ids=repr
)
def test_another_program_or_a_bad_cable_makes_the_port_fail(monkeypatch, error):
    """Retried for all of --wait, with a rest in between."""

    class Failing(FakeSerial):
        def read(self, size: int) -> bytes:
            raise error

    port = connect(monkeypatch, silent, kind=Failing)
    with pytest.raises(kr.ConnectionLostError) as caught:
        kr.read_register("/dev/null", 60)
    attempts = len(port.requests)
    seen, _, advice = str(caught.value).partition(": ")
    assert seen == "the connection to '/dev/null' was lost"
    assert "unplugged, or does another program use" in advice
    assert advice.endswith(f"({error}) ({attempts} attempts)")
    assert attempts >= 5
    assert len(port.openings) == attempts
    assert min(port.quiet[1:]) >= REST


# `all`


@pytest.mark.parametrize("poison", [(60, 84), (1010,), (61, 62), (60, 65)], ids=str)
def test_all_names_a_register_that_silences_the_meter(monkeypatch, poison):
    connect(monkeypatch, faulty(always=sim.poison(*poison)))
    found, message = read_all()
    assert found == [reading for reading in readings_of(REGISTERS) if reading[0] not in poison]
    names = ", ".join(map(str, poison))
    assert message.startswith(f"could not read {names}: no response from the meter: ")


@pytest.mark.parametrize("answered", [3, 12])
@pytest.mark.parametrize("wait", [0, 4, 30])
@pytest.mark.parametrize("fault", [sim.silence, sim.bad_crc], ids=["silent", "damaged"])
def test_all_of_a_meter_that_is_gone_in_the_middle(monkeypatch, answered, wait, fault):
    port = connect(monkeypatch, faulty(*[sim.right] * answered, always=fault))
    found, message = read_all(wait=wait)
    assert_nothing_lost(REGISTERS, found, message)
    names, _, seen = message.partition(": ")
    assert re.fullmatch("could not read ([0-9]+, )*from [0-9]+ on", names)
    assert seen.startswith(DAMAGED[1] if fault is sim.bad_crc else SILENT[1])
    since = port.clock.now - port.requests[answered - 1][0]
    # Without --wait, two requests in a row.
    assert wait < since < wait + ATTEMPT + (1 if wait else REST + ATTEMPT)


def test_all_ends_after_two_failures_in_a_row(monkeypatch):
    """Without --wait: three that are not in a row are no reason to end."""
    registers = dict.fromkeys(KNOWN, (2, 0, b"\0\0\0\1"))

    def respond(request: bytes, number: int):
        return [] if number in (5, 19, 33) else [(0.01, response_to(request, registers))]

    connect(monkeypatch, respond)
    assert read_all(wait=0) == (readings_of(registers), "")


def test_all_with_one_bad_response_loses_nothing(monkeypatch):
    for which, fault in itertools.product(range(len(GROUPS) + 2), (sim.bad_crc, sim.silence)):
        connect(monkeypatch, faulty(*[sim.right] * which, fault))
        assert read_all() == (readings_of(REGISTERS), "")


def test_all_of_a_meter_that_is_unplugged():
    with sim.KmpMeter(faults=[sim.right] * 9, always=sim.unplug()) as meter:
        result = run(meter.port, "all", "--wait", 2)
    assert result.code == 3
    assert result.out.startswith("   60  E1")
    words = "kamstrup_read: register all: could not read from [0-9]+ on: '/dev/.*\n"
    assert re.fullmatch(words, result.err)


# What is reported meanwhile


@pytest.mark.parametrize("echo", [False, True])
def test_verbose_shows_every_frame_and_attempt(monkeypatch, echo):
    lines, reports = [], []
    port = connect(monkeypatch, faulty(sim.silence))
    port.echo = echo
    hooks = kr.Hooks(lines.append, lambda *args: reports.append(args), kr.ignore)
    kr.read_register("port", 60, hooks=hooks)
    request = "80 3f 10 01 00 3c b2 5f 0d"
    response = "40 3f 10 00 3c 08 04 43 00 00 3f 6b 15 59 0d"
    echoed = [f"<- {request}"] if echo else []
    received = f"<- {request} {response}" if echo else f"<- {response}"
    ((failure, left),) = reports
    assert str(failure).startswith(f"{(ECHO_ONLY if echo else SILENT)[1]}: ")
    assert left == pytest.approx(10 - REQUEST_TIME - TIMEOUT, abs=0.3)
    assert lines == [f"-> {request}", *echoed, str(failure), f"-> {request}", received]
