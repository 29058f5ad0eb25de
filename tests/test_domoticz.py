"""Pushing to Domoticz: its answers, every way to fail, the login, https, proxies, and secrets.

situation                                      test
---------------------------------------------- -----------------------------------------------
paths, slashes, URL from the environment       test_a_path_in_the_url, test_url_...
what is pushed                                 test_svalues, test_what_is_no_number_...
right answers, however they are sent           test_right_answers
refusals, other servers, rubbish               test_failures
many bytes, long lines, compressed bytes       test_memory_of_...
redirects                                      test_redirects_are_not_followed, ...
nothing listens, comes back, no host           test_a_refused_connection_..., test_not_reached
the system refuses a socket or a thread        test_the_system_refuses_a_socket, ...
silence, half answers, drips, no connection    test_silence..., test_a_server_that_...
proxies of the environment                     test_proxies_..., test_a_dead_proxy_...
user, password, rights, ~/.netrc               test_passwords, test_rights, test_netrc_...
certificates, CA files, https where http is    test_certificates, test_ca_files, ...
user and password in no output                 test_secrets_..., test_a_login_in_the_url_...
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import types
import urllib.parse

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from program import LIMIT, PREFIX, PROXY_VARIABLES, SLACK, Result, command, environment, run
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from serial_server import SerialServer

import kamstrup_read as kr

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

CA = str(fake.DATA / "ca.pem")
PUSH = "/json.htm?type=command&param=udevice&idx=12&nvalue=0&svalue=16235"

NOT_DOMOTICZ = "sent an answer that is not JSON: is this the address of Domoticz?"
NO_SENSOR = "has no sensor with idx 12: look in Setup > Devices there"
CUT_SHORT = "sent an answer that is cut short, or too long"
NOT_IN_TIME = "did not answer in time"
NO_HTTP = "does not speak http: should the URL begin with https:?"
NO_HTTPS = "does not speak https: is this the https port, or should the URL begin with http:?"


@pytest.fixture
def call(capsys):
    """Call main() in this process."""

    def call_main(*arguments: object) -> Result:
        code = kr.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Result(code, out, err, 0.0)

    return call_main


@pytest.fixture
def meter():
    with sim.KmpMeter() as meter:
        yield meter


@pytest.fixture
def push(call, meter):
    """Push 16.235 GJ to idx 12, as 16235."""

    def push_to(url: str, *options: object) -> Result:
        return call(meter.port, 60, 12, "--multiply", 1000, "--url", url, *options)

    return push_to


def connections_to(domoticz: fake.FakeDomoticz) -> list[object]:
    """A list that gets an item with each connection, whatever becomes of it."""
    connections: list[object] = []
    process_request = domoticz.server.process_request

    def count_and_process(request, address):
        connections.append(address)
        process_request(request, address)

    domoticz.server.process_request = count_and_process
    return connections


# What is pushed


@pytest.mark.parametrize("slash", ["", "/", "//"])
@pytest.mark.parametrize("webroot", ["", "/domoticz", "/a/b"])
def test_a_path_in_the_url(push, webroot, slash):
    with fake.FakeDomoticz(webroot=webroot) as domoticz:
        push(domoticz.url + webroot + slash).printed()
    assert domoticz.requests == [webroot + PUSH]
    assert domoticz.pushes == [("12", "16235")]


@pytest.mark.parametrize("version", ["2025.1", "2022.2"])
def test_one_request_is_a_push(push, version):
    """Whichever names the server has for other calls."""
    with fake.FakeDomoticz(version=version) as domoticz:
        push(domoticz.url).printed()
    assert domoticz.requests == [PUSH]


def test_url_of_the_environment(call, meter, monkeypatch):
    with fake.FakeDomoticz() as domoticz:
        monkeypatch.setenv("DOMOTICZ_URL", domoticz.url)
        call(meter.port, 60, 12).printed()
    assert domoticz.pushes == [("12", "16.235")]


def test_url_of_the_option_comes_first(push, monkeypatch):
    monkeypatch.setenv("DOMOTICZ_URL", "http://127.0.0.1:9")
    with fake.FakeDomoticz() as domoticz:
        push(domoticz.url).printed()
    assert domoticz.pushes == [("12", "16235")]


@pytest.mark.parametrize(
    ("options", "svalue"),
    [
        ([], "147.307"),
        (["--multiply", "1000"], "147307"),
        (["--multiply=0.001"], "0.147307"),
        (["--decimals", "1"], "147.3"),
        (["--decimals", "0"], "147"),
        (["--multiply", "-1"], "-147.307"),
        (["--multiply", "1.5", "--decimals", "2"], "220.96"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_svalues(call, meter, options, svalue):
    with fake.FakeDomoticz() as domoticz:
        call(meter.port, "va", 13, *options, "--url", domoticz.url).printed()
    assert domoticz.pushes == [("13", svalue)]


NO_NUMBERS = {
    1003: (48, 0, (261122).to_bytes(4, "big")),
    1002: (47, 0, (200243).to_bytes(4, "big")),
    98: (50, 0, (1231).to_bytes(4, "big")),
    1126: (54, 0, b"684-53"),
    369: (59, 0, b"\x12\x34"),
}


@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["push", "dry run"])
@pytest.mark.parametrize(
    ("register", "shown"),
    [
        pytest.param(1003, "2026-11-22", id="date"),
        pytest.param(1002, "20:02:43", id="time"),
        pytest.param(98, "12-31", id="month and day"),
        pytest.param(1126, "684-53", id="text"),
        pytest.param(369, "0x1234", id="bits"),
    ],
)
def test_what_is_no_number_is_not_pushed(call, register, shown, options):
    with sim.KmpMeter(NO_NUMBERS) as meter, fake.FakeDomoticz() as domoticz:
        result = call(meter.port, register, 12, *options, "--url", domoticz.url)
    result.failed(2, f"register {register} is {shown}", "not a number")
    assert domoticz.requests == []


@pytest.mark.parametrize(
    "svalue", ["", "abc", "12,34", "nan", "1e5", "1;2", " 1", "-", "1.", "1\n"]
)
def test_what_domoticz_would_take_is_checked_here(svalue):
    with pytest.raises(ValueError, match="svalue"):
        kr.Domoticz("http://127.0.0.1:9").push(12, svalue)


@pytest.mark.parametrize("idx", [0, -1])
def test_an_idx_is_checked_here(idx):
    with pytest.raises(ValueError, match="idx"):
        kr.Domoticz("http://127.0.0.1:9").push(idx, "1")


def test_the_port_is_closed_before_domoticz_is_asked(push, meter):
    """Another program may use it meanwhile."""
    locked = []

    def lock_the_port(_handler: fake.Handler) -> bool:
        port = os.open(meter.port, os.O_RDWR | os.O_NOCTTY)
        fcntl.flock(port, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(port)
        locked.append(True)
        return False

    with fake.FakeDomoticz(trouble=lock_the_port) as domoticz:
        push(domoticz.url).printed()
    assert locked == [True]


def test_verbose_shows_the_request_and_its_answer(push):
    with fake.FakeDomoticz() as domoticz:
        result = push(domoticz.url, "-v")
    assert (result.code, result.out) == (0, "")
    assert result.err.splitlines()[2:] == [
        f"-> GET {domoticz.url}{PUSH}",
        '<- 200 { "status" : "OK", "title" : "Update Device" }',
    ]


def test_from_somebody_elses_code():
    log: list[str] = []
    with fake.FakeDomoticz(users={"me": fake.User("secret")}, plain_login=True) as server:
        domoticz = kr.Domoticz(server.url + "/", "me", "secret", log=log.append)
        domoticz.push(12, "16235")
        assert domoticz.device(12)["Data"] == "16.235 GJ"
        with pytest.raises(kr.DomoticzError, match="has no sensor with idx 99"):
            domoticz.push(99, "1")
    assert server.pushes == [("12", "16235")]
    assert log[:2] == [f"-> GET {server.url}{PUSH}", f"<- 200 {fake.OK.body.decode()}"]


# Right answers


def sends(data: bytes) -> fake.Trouble:
    """These bytes, and then the connection is closed."""

    def trouble(handler: fake.Handler) -> bool:
        handler.wfile.write(data)
        return True

    return trouble


def chunked(*chunks: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


OK_JSON = b'{"status":"OK"}'


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + OK_JSON, id="without a length"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n" + OK_JSON, id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 200\r\n\r\n" + OK_JSON, id="without a reason"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + OK_JSON, id="100"),
        pytest.param(chunked(OK_JSON, b""), id="one chunk"),
        pytest.param(chunked(OK_JSON[:4], OK_JSON[4:], b""), id="two chunks"),
        pytest.param(
            b'HTTP/1.1 200 OK\r\n\r\n{"status":"OK","title":5,"result":"x","idx":[]}',
            id="and other things",
        ),
    ],
)
def test_right_answers(push, answer):
    with fake.FakeDomoticz(trouble=sends(answer)) as domoticz:
        push(domoticz.url).printed()
    assert domoticz.requests == [PUSH]


def test_an_answer_is_requested_without_compression(push):
    accepted = []

    def note_encodings(handler: fake.Handler) -> bool:
        accepted.append(handler.headers["Accept-Encoding"])
        return False

    with fake.FakeDomoticz(trouble=note_encodings) as domoticz:
        push(domoticz.url).printed()
    assert accepted == ["identity"]


# Answers that are no success

REFUSED = [
    pytest.param(fake.answers(200, fake.ERR.body), NO_SENSOR, id="ERR"),
    pytest.param(fake.answers(200, fake.UNKNOWN_PARAM.body), NO_SENSOR, id="ERROR"),
    pytest.param(fake.answers(200, b"{}"), NO_SENSOR, id="no status"),
    pytest.param(fake.answers(200, b'{"status":["OK"]}'), NO_SENSOR, id="status is a list"),
    pytest.param(fake.answers(200, b'{"status":true}'), NO_SENSOR, id="status is true"),
    pytest.param(fake.answers(200, b'{"status":"ok"}'), NO_SENSOR, id="status in lower case"),
]
STATUSES = [
    *((status, kr.STATUS_CAUSES[3]) for status in (301, 302, 303, 307, 308)),
    (400, kr.WRONG_PATH),
    (401, kr.NEEDS_LOGIN),
    (403, kr.MAY_ONLY_VIEW),
    (404, kr.WRONG_PATH),
    *((status, http.client.responses[status]) for status in (204, 405, 408, 413, 418, 429, 451)),
    *((status, kr.STATUS_CAUSES[5]) for status in (500, 502, 503, 504, 599)),
    (299, "a status that HTTP does not have"),
    (499, "a status that HTTP does not have"),
    (999, "a status that HTTP does not have"),
]
STATUS_FAILURES = [
    pytest.param(
        fake.answers(status, b"<html>", "Location: http://127.0.0.1:1/"),
        f"{cause} (HTTP {status})",
        id=str(status),
    )
    for status, cause in STATUSES
]
NOT_JSON = [
    pytest.param(fake.answers(200, body), NOT_DOMOTICZ, id=name)
    for name, body in {
        "a page": b"<html>Hello</html>",
        "nothing": b"",
        "a list": b'["OK"]',
        "a text": b'"OK"',
        "no UTF-8": b"\xff\xfe\x00",
        "half of it": OK_JSON[:-1],
        "two of it": OK_JSON * 2,
        "deeply nested": b"[" * 60_000,
        "a huge number": b"1" * 10_000,
    }.items()
]
BROKEN = [
    pytest.param(fake.breaks_off, "closed the connection", id="closes at once"),
    pytest.param(fake.breaks_off_midway, CUT_SHORT, id="breaks off midway"),
    pytest.param(fake.answers(200, OK_JSON + b" " * 100_000), CUT_SHORT, id="too long"),
    pytest.param(sends(chunked(OK_JSON + b" " * 100_000)), CUT_SHORT, id="too long, in chunks"),
    pytest.param(
        sends(b"HTTP/1.1 200 OK\r\n\r\n" + OK_JSON + b" " * 100_000),
        CUT_SHORT,
        id="too long, to the end",
    ),
    pytest.param(sends(chunked(OK_JSON[:5])), CUT_SHORT, id="chunks break off"),
    pytest.param(sends(chunked()[:-4] + b"\r\n\r\nxyz\r\n"), CUT_SHORT, id="no chunks"),
    pytest.param(sends(b"SSH-2.0-OpenSSH_9.2\r\n"), NO_HTTP, id="SSH"),
    pytest.param(sends(b"\x15\x03\x01\x00\x02\x02\x46"), NO_HTTP, id="a TLS alert"),
    pytest.param(sends(b"HTTP/1.1 abc\r\n\r\n"), NO_HTTP, id="a status of letters"),
    pytest.param(sends(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000), NO_HTTP, id="many headers"),
    pytest.param(fake.huge_headers, NO_HTTP, id="a long header"),
]
FAILURES = [*REFUSED, *STATUS_FAILURES, *NOT_JSON, *BROKEN]


@pytest.mark.parametrize(("trouble", "words"), FAILURES)
def test_failures(push, trouble, words):
    """With their own sentence; and what may have arrived is never sent again."""
    with fake.FakeDomoticz(trouble=trouble) as domoticz:
        push(domoticz.url).failed(7, domoticz.url, words)
    assert domoticz.requests == [PUSH]


@pytest.mark.parametrize("status", [413, 429, 503])
def test_a_push_is_not_repeated_for_a_server_that_wishes_it(push, status):
    """It has arrived, and a sensor may add up what it gets."""
    trouble = fake.answers(status, b"", "Retry-After: 1")
    with fake.FakeDomoticz(trouble=trouble) as domoticz:
        push(domoticz.url).failed(7, f"(HTTP {status})")
    assert domoticz.requests == [PUSH]


@pytest.mark.parametrize("trouble", [pytest.param(row.values[0], id=row.id) for row in FAILURES])
def test_verbose_shows_what_came(push, trouble):
    """The answer's status; or in the library's own words, why there was none."""
    with fake.FakeDomoticz(trouble=trouble) as domoticz:
        lines = push(domoticz.url, "-v").err.splitlines()
    assert lines[2] == f"-> GET {domoticz.url}{PUSH}"
    assert re.match(r"<- ([0-9]{3} ?|\w+\(.+\)$)", lines[3])
    assert lines[4].startswith(PREFIX)
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        pytest.param(fake.breaks_off, "Remote end closed connection", id="closes at once"),
        pytest.param(sends(b"SSH-2.0-x\r\n"), "SSH-2.0-x", id="SSH"),
        pytest.param(fake.huge_headers, "65536 bytes", id="a long header"),
        pytest.param(fake.breaks_off_midway, "its body is cut short", id="midway"),
    ],
)
def test_verbose_has_the_librarys_words(push, trouble, words):
    with fake.FakeDomoticz(trouble=trouble) as domoticz:
        assert words in push(domoticz.url, "-v").err.splitlines()[3]


# Answers without end

# Prints the peak memory of a command in KB. A small process starts it: what this one has would
# count as the command's. If all else fails, the system refuses memory beyond 2 GB.
PEAK_MEMORY = """
import os, resource, sys

resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
process = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(process, 0)
print(usage.ru_maxrss)
sys.exit(status >> 8)
"""


def peak_memory(*args: object) -> tuple[int, float, str]:
    """Exit code, peak MB and stderr of the program."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", PEAK_MEMORY, *command(*args)],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT,
        check=False,
    )
    return done.returncode, int(done.stdout.split()[-1]) / 1024, done.stderr


def one_long_chunk(handler: fake.Handler) -> bool:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffff\r\n"
    return fake._without_end(handler, head, b" " * 65536)


def a_long_chunk_header(handler: fake.Handler) -> bool:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"
    return fake._without_end(handler, head, b"x" * 65536)


def a_terabyte(handler: fake.Handler) -> bool:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"
    return fake._without_end(handler, head, b" " * 65536)


SINGLE_ANSWERS = [
    pytest.param(fake.endless_body, id="a body without end"),
    pytest.param(fake.endless_chunks, id="chunks without end"),
    pytest.param(one_long_chunk, id="one long chunk"),
    pytest.param(a_long_chunk_header, id="a long chunk header"),
    pytest.param(a_terabyte, id="a terabyte"),
    pytest.param(fake.gzip_bomb, id="a gzip bomb"),
    pytest.param(fake.huge_headers, id="a long header"),
    pytest.param(fake.redirects_without_end, id="a redirect's body without end"),
]
MEMORY_OF_AN_ANSWER = 4  # MB
MEMORY_OF_A_LIST = 128  # MB; some MB of JSON can be many small objects


def assert_memory(meter: sim.KmpMeter, trouble: fake.Trouble, limit: float, *destination: str):
    """It takes at most so many MB more than a push to a server that behaves."""
    with fake.FakeDomoticz() as domoticz:
        code, normal, err = peak_memory(meter.port, 60, 12, "--url", domoticz.url)
    assert (code, err) == (0, "")
    with fake.FakeDomoticz(trouble=trouble) as domoticz:
        code, peak, err = peak_memory(meter.port, 60, *destination, "--url", domoticz.url)
    assert code == 7
    assert err.startswith(PREFIX)
    assert peak < normal + limit


@pytest.mark.parametrize("trouble", SINGLE_ANSWERS)
def test_memory_of_a_push(meter, trouble):
    assert_memory(meter, trouble, MEMORY_OF_AN_ANSWER, "12")


def only_to(call: str, trouble: fake.Trouble) -> fake.Trouble:
    """The trouble with one kind of call; the others are answered."""
    return lambda handler: f"param={call}" in handler.requestline and trouble(handler)


SMALL_OBJECTS = b'{"result":[' + b"{}," * 6_000_000 + b"{}]}"


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(fake.endless_body, id="a body without end"),
        pytest.param(fake.answers(200, SMALL_OBJECTS), id="small objects"),
    ],
)
def test_memory_of_a_dry_run(meter, trouble):
    """One sensor is all that it requests."""
    trouble = only_to("getdevices", trouble)
    assert_memory(meter, trouble, MEMORY_OF_AN_ANSWER, "12", "--dry-run")


@pytest.mark.parametrize(
    "trouble",
    [
        *SINGLE_ANSWERS,
        pytest.param(fake.answers(200, SMALL_OBJECTS), id="small objects"),
    ],
)
def test_memory_of_the_list_of_sensors(meter, trouble):
    trouble = only_to("getdevices", trouble)
    assert_memory(meter, trouble, MEMORY_OF_A_LIST, "--create", "Heating")


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(push, status, monkeypatch):
    """The login is for the server in the URL alone."""
    monkeypatch.setenv("DOMOTICZ_USER", "me")
    monkeypatch.setenv("DOMOTICZ_PASSWORD", "secret")
    with fake.FakeDomoticz() as other:
        trouble = fake.answers(status, b"", f"Location: {other.url}/json.htm")
        connections = connections_to(other)
        with fake.FakeDomoticz(trouble=trouble) as domoticz:
            push(domoticz.url).failed(7, "redirects elsewhere", f"(HTTP {status})")
    assert connections == []


def test_what_comes_with_a_redirect_is_not_read(push):
    with fake.FakeDomoticz(trouble=fake.redirects_without_end) as domoticz:
        push(domoticz.url).failed(7, "redirects elsewhere")
        wait_until(lambda: domoticz.cut_short)


def wait_until(condition) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# Domoticz is not reached


@pytest.fixture
def closed_port():
    """A port of this computer on which nothing listens, unless a server of this test does."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def pauses(monkeypatch):
    """The s of each pause between two attempts to connect; nobody waits for them."""
    lengths: list[float] = []
    clock = types.SimpleNamespace(sleep=lengths.append, time=time.time)
    monkeypatch.setattr("urllib3.util.retry.time", clock)
    return lengths


@pytest.fixture
def attempts(monkeypatch):
    """The address of each attempt to connect."""
    from urllib3.util import connection

    addresses: list[object] = []
    create_connection = connection.create_connection

    def count_and_connect(address, *args, **kwargs):
        addresses.append(address)
        return create_connection(address, *args, **kwargs)

    monkeypatch.setattr(connection, "create_connection", count_and_connect)
    return addresses


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_refused_connection_is_tried_a_few_times_within_seconds(
    push, closed_port, pauses, attempts, scheme
):
    push(f"{scheme}://127.0.0.1:{closed_port}").failed(7, "refused the connection")
    assert 3 <= len(attempts) <= 5
    assert 2 <= sum(pauses) <= 10


def test_a_host_without_an_address_is_tried_a_few_times(push, pauses, attempts):
    push("http://no-such-host.invalid:8080").failed(
        7, "was not found: check the spelling of the host"
    )
    assert 3 <= len(attempts) <= 5


@pytest.mark.parametrize(
    "url",
    [
        "http://" + "x" * 70 + ".invalid",
        "http://a..b",
        "http://" + "x." * 200,
        "http://.",
        "http://-",
        "http://[::1%25lo]:9",
        "http://256.256.256.256",
        "http://0x7f.1:9",
    ],
)
def test_not_reached(push, pauses, url):
    """Whatever the library thinks of such a host."""
    result = push(url)
    assert result.failed(result.code)
    assert result.code in (2, 7)


def test_a_server_that_comes_back_within_seconds_gets_the_value(push, closed_port, monkeypatch):
    servers: list[fake.FakeDomoticz] = []

    def come_back(_seconds: float) -> None:
        if not servers:
            servers.append(stack.enter_context(fake.FakeDomoticz(port=closed_port)))

    clock = types.SimpleNamespace(sleep=come_back, time=time.time)
    monkeypatch.setattr("urllib3.util.retry.time", clock)
    with contextlib.ExitStack() as stack:
        push(f"http://127.0.0.1:{closed_port}").printed()
        assert servers[0].pushes == [("12", "16235")]


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENOBUFS]
)
def test_the_system_refuses_a_socket(push, pauses, monkeypatch, number):
    """That is told as a failure of Domoticz, with the cause; not as one of the output."""
    from urllib3.util import connection

    def refuse(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(connection, "create_connection", refuse)
    words = f"Domoticz at http://127.0.0.1:9 can't be reached: {os.strerror(number)}"
    push("http://127.0.0.1:9").failed(7, words)


def test_without_threads_a_push_goes_on(push, monkeypatch):
    """The stand-in keeps its own."""
    this_thread = threading.get_ident()
    start = threading.Thread.start

    def refuse_here(thread: threading.Thread) -> None:
        if threading.get_ident() == this_thread:
            raise RuntimeError("can't start new thread")
        start(thread)

    with fake.FakeDomoticz() as domoticz:
        monkeypatch.setattr(threading.Thread, "start", refuse_here)
        push(domoticz.url).printed()
        assert domoticz.pushes == [("12", "16235")]
        push(f"{domoticz.url}/wrong").failed(7, "(HTTP 404)")


# Silence


@pytest.mark.parametrize("trouble", [fake.hangs, fake.hangs_after_headers])
def test_silence(push, monkeypatch, trouble):
    monkeypatch.setattr(kr, "READ_TIMEOUT", 0.2)
    with fake.FakeDomoticz(trouble=trouble) as domoticz:
        push(domoticz.url).failed(7, NOT_IN_TIME)
        wait_until(lambda: domoticz.requests)
    assert domoticz.requests == [PUSH]


def drips_a_body(handler: fake.Handler) -> bool:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    return fake._without_end(handler, head, b" ", pause=0.1)


def goes_on_and_on(handler: fake.Handler) -> bool:
    """Says that an answer will follow."""
    return fake._without_end(handler, b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.1)


@pytest.mark.parametrize("trouble", [fake.drips, drips_a_body, goes_on_and_on])
def test_a_server_that_sends_a_byte_now_and_then(push, monkeypatch, trouble):
    """It keeps within the time for one read, and so there is one for all of the call."""
    monkeypatch.setattr(kr, "CALL_TIMEOUT", 1.0)
    with fake.FakeDomoticz(trouble=trouble) as domoticz:
        push(domoticz.url).failed(7, NOT_IN_TIME)
        wait_until(lambda: domoticz.requests)
    assert domoticz.requests == [PUSH]


@pytest.mark.parametrize(
    ("trouble", "seconds"),
    [
        pytest.param(fake.hangs, kr.READ_TIMEOUT, id="hangs"),
        pytest.param(fake.drips, kr.CALL_TIMEOUT, id="drips"),
    ],
)
def test_silence_in_real_time(meter, trouble, seconds):
    """The process ends, whatever it has left behind."""
    with fake.FakeDomoticz(trouble=trouble) as domoticz:
        result = run(meter.port, 60, 12, "--url", domoticz.url, limit=seconds + SLACK)
        assert len(domoticz.requests) == 1
    result.failed(7, NOT_IN_TIME)
    assert result.seconds > seconds
    assert seconds <= 30


def test_a_host_that_does_not_let_anybody_connect(push, pauses, attempts, monkeypatch):
    """As one behind a firewall. The system alone would try for two minutes."""
    monkeypatch.setattr(kr, "CONNECT_TIMEOUT", 0.1)
    monkeypatch.setattr(kr, "CALL_TIMEOUT", LIMIT)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        with contextlib.ExitStack() as stack:
            for _ in range(4):  # as many as wait until the server accepts one
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    waiting.connect(("127.0.0.1", port))
            begun = time.monotonic()
            push(f"http://127.0.0.1:{port}").failed(7, NOT_IN_TIME)
    assert 3 <= len(attempts) <= 5
    assert time.monotonic() - begun < LIMIT


def test_the_time_to_connect_is_limited():
    assert 1 <= kr.CONNECT_TIMEOUT <= 10


# Proxies


@pytest.fixture
def without_exceptions(monkeypatch):
    """No host is excepted from proxies."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("tls", ["", "good"], ids=["http", "https"])
@pytest.mark.parametrize("variable", PROXY_VARIABLES)
def test_proxies_are_not_used(push, monkeypatch, without_exceptions, variable, tls):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", CA)
    with fake.FakeDomoticz(trouble=fake.answers(403)) as proxy:
        connections = connections_to(proxy)
        monkeypatch.setenv(variable, proxy.url)
        with fake.FakeDomoticz(tls=tls) as domoticz:
            push(domoticz.url).printed()
    assert domoticz.pushes == [("12", "16235")]
    assert connections == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_login_does_not_go_to_a_proxy(push, monkeypatch, without_exceptions, host):
    monkeypatch.setenv("DOMOTICZ_USER", "me")
    monkeypatch.setenv("DOMOTICZ_PASSWORD", "secret")
    with fake.FakeDomoticz() as proxy:
        connections = connections_to(proxy)
        for variable in PROXY_VARIABLES:
            monkeypatch.setenv(variable, proxy.url)
        users = {"me": fake.User("secret")}
        with fake.FakeDomoticz(users=users, plain_login=True) as domoticz:
            push(domoticz.url.replace("127.0.0.1", host)).printed()
    assert connections == []


@pytest.mark.parametrize("tls", ["", "good"], ids=["http", "https"])
def test_a_dead_proxy_changes_nothing(push, monkeypatch, closed_port, without_exceptions, tls):
    monkeypatch.setenv("CURL_CA_BUNDLE", CA)
    for variable in PROXY_VARIABLES:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{closed_port}")
    with fake.FakeDomoticz(tls=tls) as domoticz:
        push(domoticz.url).printed()
    assert domoticz.pushes == [("12", "16235")]


# The login


def log_in(monkeypatch, user: str, password: str) -> None:
    monkeypatch.setenv("DOMOTICZ_USER", user)
    monkeypatch.setenv("DOMOTICZ_PASSWORD", password)


UMLAUTS = {"b\u00e4r": fake.User("p\u00e4ssw\u00f6rd \u00a7&1")}


@pytest.mark.parametrize(
    ("user", "password"),
    [
        pytest.param("me", "secret", id="plain"),
        pytest.param("me", "a:b:c", id="colons"),
        pytest.param("me", "  two  spaces ", id="spaces"),
        pytest.param("me", "\u00e4\u00f6\u00fc\u00df\u00e9\u00ff", id="umlauts in the password"),
        pytest.param("b\u00e4r", "secret", id="umlaut in the user"),
        pytest.param("\u718a\u20ac", "p\u00e4ssword", id="a user beyond Latin-1"),
    ],
)
def test_passwords(push, monkeypatch, user, password):
    """The user goes as UTF-8, the password as Latin-1; both with the first request, unasked."""
    log_in(monkeypatch, user, password)
    with fake.FakeDomoticz(users={user: fake.User(password)}, plain_login=True) as domoticz:
        push(domoticz.url).printed()
    assert domoticz.requests == [PUSH]
    assert domoticz.pushes == [("12", "16235")]


@pytest.mark.parametrize(
    "locale",
    [
        {},
        {"LC_ALL": "C.UTF-8"},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONUTF8": "1"},
    ],
    ids=str,
)
def test_a_login_is_the_same_in_every_locale(meter, locale):
    ((user, (password, *_)),) = UMLAUTS.items()
    with fake.FakeDomoticz(users=UMLAUTS, plain_login=True) as domoticz:
        run(
            *(meter.port, 60, 12, "--multiply", 1000, "--url", domoticz.url),
            env={"DOMOTICZ_USER": user, "DOMOTICZ_PASSWORD": password, **locale},
        ).printed()
    assert domoticz.pushes == [("12", "16235")]


def test_a_password_in_latin_1_bytes(meter):
    """As an old shell script may have it."""
    password = "p\u00e4ssword".encode("latin-1").decode("utf-8", "surrogateescape")
    users = {"me": fake.User("p\u00e4ssword")}
    with fake.FakeDomoticz(users=users, plain_login=True) as domoticz:
        run(
            *(meter.port, 60, 12, "--url", domoticz.url),
            env={"DOMOTICZ_USER": "me", "DOMOTICZ_PASSWORD": password},
        ).printed()
    assert domoticz.pushes == [("12", "16.235")]


def test_a_password_that_can_not_work(push, monkeypatch):
    log_in(monkeypatch, "b\u00e4r", "5\u20ac")
    logins = []

    def note_login(handler: fake.Handler) -> bool:
        logins.append(handler.login())
        return False

    users = {"b\u00e4r": fake.User("5\u20ac")}
    with fake.FakeDomoticz(users=users, plain_login=True, trouble=note_login) as domoticz:
        push(domoticz.url).failed(7, kr.IMPOSSIBLE_PASSWORD, "(HTTP 401)")
    assert logins == [("b\u00e4r".encode(), "5\u20ac".encode())]


def test_a_password_that_can_not_work_is_no_matter_elsewhere(push, monkeypatch):
    log_in(monkeypatch, "me", "5\u20ac")
    with fake.FakeDomoticz(trouble=fake.answers(403)) as domoticz:
        push(domoticz.url).failed(7, kr.MAY_ONLY_VIEW)


WRONG_LOGINS = {
    "none given": (None, {"users": UMLAUTS}),
    "wrong password": (("b\u00e4r", "wrong"), {"users": UMLAUTS, "plain_login": True}),
    "wrong user": (("bar", "secret"), {"users": UMLAUTS, "plain_login": True}),
    "password in UTF-8": (
        ("me", "p\u00e4"),
        {"users": {"me": fake.User("p\u00c3\u00a4")}, "plain_login": True},
    ),
    "plain http not allowed": (("b\u00e4r", UMLAUTS["b\u00e4r"].password), {"users": UMLAUTS}),
    "wrong login from a trusted computer": (
        ("me", "wrong"),
        {"users": UMLAUTS, "trusted": True, "tls": "good"},
    ),
    "plain http not allowed, from a trusted computer": (("me", "any"), {"trusted": True}),
}


@pytest.mark.parametrize(("login", "settings"), WRONG_LOGINS.values(), ids=WRONG_LOGINS)
def test_a_refused_login_names_its_causes(push, monkeypatch, login, settings):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", CA)
    if login:
        log_in(monkeypatch, *login)
    with fake.FakeDomoticz(**settings) as domoticz:
        cause = kr.WRONG_LOGIN if login else kr.NEEDS_LOGIN
        line = push(domoticz.url).failed(7, cause, "(HTTP 401)")
    for words in ("DOMOTICZ_PASSWORD", "trusted networks"):
        assert words in line
    assert len(domoticz.requests) == 1
    assert domoticz.pushes == []


def test_login_over_https(push, monkeypatch):
    ((user, (password, *_)),) = UMLAUTS.items()
    log_in(monkeypatch, user, password)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", CA)
    with fake.FakeDomoticz(users=UMLAUTS, tls="good") as domoticz:
        push(domoticz.url).printed()
    assert domoticz.requests == [PUSH]


@pytest.mark.parametrize(
    ("user", "code"),
    [
        pytest.param(fake.User("secret", fake.ADMIN), 0, id="admin"),
        pytest.param(fake.User("secret", fake.USER), 0, id="user"),
        pytest.param(fake.User("secret", fake.VIEWER), 7, id="viewer"),
        pytest.param(fake.User("secret", fake.USER, only=[12]), 0, id="limited to this sensor"),
        pytest.param(fake.User("secret", fake.USER, only=[13]), 7, id="limited to others"),
    ],
)
def test_rights(push, monkeypatch, user, code):
    log_in(monkeypatch, "me", "secret")
    with fake.FakeDomoticz(users={"me": user}, plain_login=True) as domoticz:
        result = push(domoticz.url)
    if code:
        result.failed(code, kr.MAY_ONLY_VIEW, "(HTTP 403)")
    else:
        result.printed()
    assert len(domoticz.pushes) == (0 if code else 1)


@pytest.mark.parametrize("by", ["HOME", "NETRC"])
def test_netrc_is_not_used(push, monkeypatch, tmp_path, by):
    """With a login, a trusted computer's push over plain http would be refused."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login someone password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv(by, str(tmp_path if by == "HOME" else netrc))
    with fake.FakeDomoticz() as domoticz:
        push(domoticz.url).printed()
    assert domoticz.pushes == [("12", "16235")]


@pytest.mark.parametrize(
    "login",
    [
        {"DOMOTICZ_USER": "some"},
        {"DOMOTICZ_PASSWORD": "some"},
        {"DOMOTICZ_USER": "some:one", "DOMOTICZ_PASSWORD": "some"},
        {"DOMOTICZ_USER": "some", "DOMOTICZ_PASSWORD": ""},
    ],
    ids=str,
)
def test_half_a_login(call, monkeypatch, login):
    for name, value in login.items():
        monkeypatch.setenv(name, value)
    line = call("/dev/null", 60, 12).failed(2, "DOMOTICZ_USER (without a colon)", "or neither")
    assert "some" not in line


def test_an_empty_login_is_none_given(push, monkeypatch):
    log_in(monkeypatch, "", "")
    with fake.FakeDomoticz() as domoticz:
        push(domoticz.url).printed()


# Certificates

NAME_THE_CA = "name the CA's file in REQUESTS_CA_BUNDLE"
OTHER_CA = str(fake.DATA / "localhost.pem")
CERTIFICATES = {  # certificate, CA file, OpenSSL's reason, advice
    "expired": ("expired", CA, "certificate has expired", kr.CERTIFICATE_ADVICE[10]),
    "not yet valid": (
        *("not-yet-valid", CA),
        *("certificate is not yet valid", kr.CERTIFICATE_ADVICE[9]),
    ),
    "another host": (
        *("other-host", CA),
        *("127.0.0.1", kr.CERTIFICATE_ADVICE[62]),
    ),
    "weak key": ("weak-key", CA, "key too weak", kr.CERTIFICATE_ADVICE[66]),
    "self-signed": ("selfsigned", "", "certificate)", f"its CA is not in {DEFAULT_CA_BUNDLE_PATH}"),
    "unknown CA": (
        *("good", ""),
        *("unable to get local issuer certificate", f"its CA is not in {DEFAULT_CA_BUNDLE_PATH}"),
    ),
    "another CA": (
        *("good", OTHER_CA),
        *("unable to get local issuer certificate", f"its CA is not in {OTHER_CA}"),
    ),
    "self-signed, CA named": ("selfsigned", CA, "certificate)", f"its CA is not in {CA}"),
}


@pytest.mark.parametrize(
    ("certificate", "ca_file", "reason", "advice"), CERTIFICATES.values(), ids=CERTIFICATES
)
def test_certificates(push, monkeypatch, certificate, ca_file, reason, advice):
    """OpenSSL's reason, and advice that fits it. At once: another attempt would not help."""
    if ca_file:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_file)
    with fake.FakeDomoticz(tls=certificate) as domoticz:
        connections = connections_to(domoticz)
        line = push(domoticz.url).failed(7, "has a certificate that can't be verified (", advice)
    assert reason in line
    assert "or give --insecure if you trust the network" in line
    assert (NAME_THE_CA in line) == advice.startswith("its CA is not in")
    assert len(connections) == 1
    assert domoticz.requests == []


def test_another_hosts_certificate_is_explained_in_plain_words(push, monkeypatch):
    """Python's text of that exception, with an older urllib3, is a tuple."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", CA)
    with fake.FakeDomoticz(tls="other-host") as domoticz:
        assert '("' not in push(domoticz.url).failed(7, "can't be verified")


def test_verbose_has_the_librarys_words_for_a_certificate(push, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", CA)
    with fake.FakeDomoticz(tls="expired") as domoticz:
        lines = push(domoticz.url, "-v").err.splitlines()
    assert lines[3].startswith("<- ")
    assert "CERTIFICATE_VERIFY_FAILED" in lines[3]


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize(
    ("certificate", "ca_file"),
    [("good", "ca.pem"), ("localhost", "localhost.pem")],
    ids=["a CA's", "one's own"],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_that_is_verified(push, monkeypatch, variable, certificate, ca_file, host):
    monkeypatch.setenv(variable, str(fake.DATA / ca_file))
    with fake.FakeDomoticz(tls=certificate) as domoticz:
        push(domoticz.url.replace("127.0.0.1", host)).printed()
    assert domoticz.pushes == [("12", "16235")]


def test_requests_ca_bundle_comes_first(push, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", CA)
    monkeypatch.setenv("CURL_CA_BUNDLE", "/nowhere/ca.pem")
    with fake.FakeDomoticz(tls="good") as domoticz:
        push(domoticz.url).printed()


CA_HASH = "b82e3118.0"  # the name by which OpenSSL finds the CA in a folder


def test_a_folder_of_cas(push, monkeypatch, tmp_path):
    (tmp_path / CA_HASH).write_text((fake.DATA / "ca.pem").read_text())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    with fake.FakeDomoticz(tls="good") as domoticz:
        push(domoticz.url).printed()
    with fake.FakeDomoticz(tls="selfsigned") as domoticz:
        push(domoticz.url).failed(7, f"its CA is not in {tmp_path}: {NAME_THE_CA}")


@pytest.mark.parametrize("certificate", ["good", "expired", "weak-key", "other-host", "selfsigned"])
def test_insecure(push, monkeypatch, certificate):
    """It overrides the environment too."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with fake.FakeDomoticz(tls=certificate) as domoticz:
        push(domoticz.url, "--insecure").printed()
    assert domoticz.pushes == [("12", "16235")]


def test_insecure_prints_no_warning_of_a_library(meter):
    with fake.FakeDomoticz(tls="selfsigned") as domoticz:
        run(meter.port, 60, 12, "--url", domoticz.url, "--insecure").printed()
    assert domoticz.pushes == [("12", "16.235")]


NO_PEM = str(fake.DATA / "not-a-certificate.pem")


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize(
    ("ca_file", "reason"),
    [("/nowhere/ca.pem", "No such file or directory"), (NO_PEM, "")],
    ids=["missing", "no PEM"],
)
def test_ca_files(push, monkeypatch, variable, ca_file, reason):
    """A CA file that can't be used is no matter of Domoticz's certificate, or of its port."""
    monkeypatch.setenv(variable, ca_file)
    with fake.FakeDomoticz(tls="good") as domoticz:
        line = push(domoticz.url).failed(7, f"the CA file {ca_file} can't be used: {reason}")
    assert "REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE must name a PEM file" in line
    assert "https port" not in line
    assert "--insecure" not in line


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_a_ca_file_that_can_not_be_read(push, monkeypatch, number):
    """Such as another user's. It may be a PEM file all the same."""

    def refuse(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", CA)
    with fake.FakeDomoticz(tls="good") as domoticz:
        monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", refuse)
        line = push(domoticz.url).failed(7, f"the CA file {CA} can't be used")
    assert os.strerror(number) in line


def test_a_ca_file_is_not_needed_for_http(push, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with fake.FakeDomoticz() as domoticz:
        push(domoticz.url).printed()


def test_http_to_the_https_port(push):
    with fake.FakeDomoticz(tls="good") as domoticz:
        url = domoticz.url.replace("https", "http")
        push(url).failed(7, url, "should the URL begin with https:?")


@pytest.mark.parametrize("insecure", [(), ("--insecure",)], ids=["", "--insecure"])
def test_https_to_the_http_port(push, insecure):
    with fake.FakeDomoticz() as domoticz:
        connections = connections_to(domoticz)
        push(domoticz.url.replace("http", "https"), *insecure).failed(7, NO_HTTPS)
    assert len(connections) == 1


# Secrets

USER, PASSWORD = 'bj\u00f6"rn', 'p\u00e4"ss w\u00f6rd&1'


def forms_of(user: str, password: str, coding: str = "latin-1") -> set[str]:
    """User and password in all the ways that they could show."""
    forms = {base64.b64encode(user.encode() + b":" + password.encode(coding)).decode()}
    for text in (user, password):
        forms.add(text)
        forms.add(json.dumps(text)[1:-1])
        forms.add(json.dumps(text, ensure_ascii=False)[1:-1])
        forms.add(repr(text.encode())[2:-1])
        forms.add(repr(text.encode(coding))[2:-1])
        forms.add(text.encode(coding).decode("utf-8", "replace"))
        forms.add(urllib.parse.quote(text))
        forms.add(urllib.parse.quote(text, encoding=coding))
    return forms


def assert_no_secrets(*texts: str, user: str = USER, password: str = PASSWORD) -> None:
    for secret in forms_of(user, password):
        for text in texts:
            assert secret not in text


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(None, id="none"),
        pytest.param(fake.echoes_login, id="echoes the login"),
        *(pytest.param(row.values[0], id=row.id) for row in FAILURES),
    ],
)
def test_secrets_show_nowhere(push, monkeypatch, trouble):
    log_in(monkeypatch, USER, PASSWORD)
    users = {USER: fake.User(PASSWORD)}
    with fake.FakeDomoticz(users=users, plain_login=True, trouble=trouble) as domoticz:
        results = [push(domoticz.url), push(domoticz.url, "-v")]
    for result in results:
        assert result.code == (7 if trouble else 0)
        assert_no_secrets(result.out, result.err)
    assert_no_secrets(*domoticz.requests)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("tls", ["", "selfsigned"])
def test_secrets_show_nowhere_when_the_connection_fails(push, monkeypatch, pauses, tls, scheme):
    log_in(monkeypatch, USER, PASSWORD)
    with fake.FakeDomoticz(users={USER: fake.User(PASSWORD)}, tls=tls) as domoticz:
        url = f"{scheme}://127.0.0.1:{domoticz.port}"
        refused = [push(url), push(url, "-v")]
    closed = [push(url), push(url, "-v")]
    for result in (*refused, *closed):
        assert result.code == 7
        assert_no_secrets(result.out, result.err)


@pytest.mark.parametrize(
    "destination", [["12", "--dry-run"], ["--create", "Heating"]], ids=["dry run", "create"]
)
def test_secrets_show_nowhere_in_the_other_modes(call, meter, monkeypatch, destination):
    log_in(monkeypatch, USER, PASSWORD)
    with fake.FakeDomoticz(trouble=fake.echoes_login) as domoticz:
        for verbose in ([], ["-v"]):
            result = call(meter.port, 60, *destination, "--url", domoticz.url, *verbose)
            assert result.code == 7
            assert_no_secrets(result.out, result.err)


@pytest.mark.parametrize("version", ["2025.1", "2022.2"])
def test_passwords_of_other_hardware_show_nowhere(call, meter, version):
    hardware = [{**fake.dummy_hardware("3", "MQTT"), "Password": "hunter2", "Extra": "token123"}]
    with fake.FakeDomoticz(hardware=hardware, version=version) as domoticz:
        for destination in (["--create", "New"], [12, "--dry-run"]):
            result = call(meter.port, 60, *destination, "--url", domoticz.url, "-v")
            assert result.code == 0
            assert "hunter2" not in result.err
            assert "token123" not in result.err
            assert "hardware" in result.err


def test_a_password_in_the_librarys_words_shows_nowhere(push, monkeypatch):
    log_in(monkeypatch, "meter", "12345678")
    answer = sends(b"HTTP/1.1 200 OK\r\nContent-Length: 12345678, 5\r\n\r\n")
    with fake.FakeDomoticz(trouble=answer) as domoticz:
        for options in ([], ["-v"]):
            result = push(domoticz.url, *options)
            assert result.code == 7
            assert "gave no valid answer: " in result.err
            assert "12345678" not in result.err


def test_a_password_that_can_not_work_shows_nowhere(push, monkeypatch):
    log_in(monkeypatch, "me and you", "5\u20ac p\u00e4")

    def echo_in_latin_1_and_utf_8(handler: fake.Handler) -> bool:
        user, password = handler.login()
        handler.reply(
            200, [], user + b" " + password + b" " + handler.headers["Authorization"].encode()
        )
        return True

    with fake.FakeDomoticz(trouble=echo_in_latin_1_and_utf_8) as domoticz:
        result = push(domoticz.url, "-v")
    assert result.code == 7
    for secret in forms_of("me and you", "5\u20ac p\u00e4", "utf-8"):
        assert secret not in result.out + result.err


SLOW_REQUESTS = """
import sys, threading, time

class Watch:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is threading.main_thread():
            print("imported meanwhile:", name, file=sys.stderr)

def main_thread_imports():
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame is not None:
        if "importlib" in frame.f_code.co_filename:
            return True
        frame = frame.f_back

if threading.current_thread() is not threading.main_thread():
    watch = Watch()
    sys.meta_path.insert(0, watch)
    time.sleep(1)
    sys.meta_path.remove(watch)
    if main_thread_imports():
        print("waited for by an import", file=sys.stderr)
raise ImportError("enough")
"""


@pytest.mark.parametrize("kind", [None, "socket", "rfc2217"])
@pytest.mark.parametrize(("register", "code"), [(60, 7), ("DATE", 2), ("CLOCK", 2)])
def test_nothing_else_is_imported_while_requests_is(tmp_path, kind, register, code):
    """In Python 3.9, two threads that import the same module may block each other for ever."""
    (tmp_path / "requests.py").write_text(SLOW_REQUESTS)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(sim.KmpMeter()).port
        if kind is not None:
            port = stack.enter_context(SerialServer(port, kind)).url
        result = run(port, register, 12, env={"PYTHONPATH": str(tmp_path)})
    assert result.err.count("\n") == 1
    assert result.code == code


def test_a_password_that_begins_with_the_user_is_hidden_as_a_whole():
    domoticz = kr.Domoticz("http://127.0.0.1", 'adm"in', 'adm"in123')
    assert domoticz.scrub('adm"in123 adm\\"in123 adm"in') == "*** *** ***"


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hush@127.0.0.1:8080",
        "https://hush@127.0.0.1",
        "user:hush@127.0.0.1",
        "http://127.0.0.1/@hush",
        "http://user:hush%40127.0.0.1:8080",
        "http:/user:hush",
        "http://user:hush",
        "http://127.0.0.1:8080/?password=hush",
        "http://127.0.0.1:8080/#hush",
    ],
)
@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_login_in_the_url_is_refused_and_not_repeated(call, monkeypatch, url, by):
    options = ["-v"]
    if by == "option":
        options += ["--url", url]
    else:
        monkeypatch.setenv("DOMOTICZ_URL", url)
    line = call("/dev/null", 60, 1, *options).failed(2)
    assert "hush" not in line
    assert ("set DOMOTICZ_USER and DOMOTICZ_PASSWORD" in line) == ("@" in url)
