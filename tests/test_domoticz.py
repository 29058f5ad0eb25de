"""The table of faults of Domoticz, login and https; each row from the meter to the exit code.

fault                                                   expected
------------------------------------------------------- -----------------------------------------
idx unknown, 401, 403, 404, 400, proxy pages, redirects 7, its own sentence   test_refused
answers that are no JSON object, or endless             7                     test_refused
refused, name unknown                                   7 after some seconds  test_not_reached
silence, half answers, dripping bytes                   7 within 35 s         test_silence
https to http, http to https, certificates              7, or pushed          test_https_*
login, also in UTF-8; ~/.netrc                          pushed                test_login, test_netrc
user and password in no output                                                test_secrets
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import socket
import threading

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from conftest import SLACK, run

import kamstrup_read as kr

USER, PASSWORD = "björn", "pässwörd€ 1&2"
LOGIN = {"DOMOTICZ_USER": USER, "DOMOTICZ_PASSWORD": PASSWORD}


@pytest.fixture
def meter():
    with sim.KmpMeter() as meter:
        yield meter


def push(meter, url, *options, env=None, idx=12):
    return run(meter.port, 60, idx, "--multiply", 1000, "--url", url, *options, env=env)


@pytest.mark.parametrize("slash", ["", "/", "//"])
@pytest.mark.parametrize("webroot", ["", "/domoticz", "/a/b"])
def test_pushed(meter, webroot, slash):
    with fake.FakeDomoticz(webroot=webroot) as domoticz:
        result = push(meter, domoticz.url + webroot + slash)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert domoticz.pushes == [("12", "16235")]
    assert domoticz.requests == [f"{webroot}/json.htm?type=command&param=udevice&idx=12&nvalue=0&svalue=16235"]


def test_url_from_the_environment(meter):
    with fake.FakeDomoticz() as domoticz:
        result = run(meter.port, 60, 12, env={"DOMOTICZ_URL": domoticz.url})
    assert (result.code, result.out, result.err) == (0, "", "")
    assert domoticz.pushes == [("12", "16.235")]


@pytest.mark.parametrize(
    ("options", "svalue"),
    [
        (["--multiply", "1000"], "147307"),
        (["--multiply=0.001"], "0.147307"),
        (["--decimals", "1"], "147.3"),
        (["--decimals", "0"], "147"),
        (["--multiply", "-1"], "-147.307"),
        (["--multiply", "1.5", "--decimals", "2"], "220.96"),
    ],
)
def test_svalues(meter, options, svalue):
    with fake.FakeDomoticz() as domoticz:
        result = run(meter.port, "va", 13, *options, "--url", domoticz.url)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert domoticz.svalues == {"13": svalue}


def test_verbose_tells_what_was_sent_and_that_it_was_taken(meter):
    with fake.FakeDomoticz() as domoticz:
        lines = push(meter, domoticz.url, "-v").err.splitlines()
    query = "type=command&param=udevice&idx=12&nvalue=0&svalue=16235"
    assert lines[2:] == [
        f"-> GET {domoticz.url}/json.htm?{query}",
        '<- 200 { "status" : "OK", "title" : "Update Device" }',
        "Domoticz took svalue 16235 for idx 12",
    ]


@pytest.mark.parametrize("register", ["1003", "xday", "clock"])
def test_a_date_can_not_be_pushed(meter, register):
    with fake.FakeDomoticz() as domoticz:
        result = run(meter.port, register, 12, "--url", domoticz.url)
    assert result.code == 2
    assert "no number" in result.one_line()
    assert domoticz.requests == []


@pytest.mark.parametrize("svalue", ["", "abc", "12,34", "nan", "1e5", "1;2", " 1", "-", "1."])
def test_what_domoticz_would_take_is_checked_here(svalue):
    with pytest.raises(ValueError, match="svalue"):
        kr.Domoticz("http://127.0.0.1:9").push(12, svalue)
    with pytest.raises(ValueError, match="idx"):
        kr.Domoticz("http://127.0.0.1:9").push(0, "1")


DEEP = b"[" * 100_000
REFUSED = [
    pytest.param(fake.answers(*fake.recorded("idx unknown (9999)")[::2]), "no sensor with idx 12", id="idx unknown"),
    pytest.param(fake.answers(200, b'{"status":"ERROR"}'), "no sensor with idx 12", id="param unknown"),
    pytest.param(fake.answers(200, b"{}"), "no sensor with idx 12", id="no status"),
    pytest.param(fake.answers(200, b'{"status":["OK"]}'), "no sensor with idx 12", id="a strange status"),
    pytest.param(fake.answers(*fake.LOGIN_NEEDED[::2]), "trusted networks", id="401"),
    pytest.param(fake.answers(*fake.VIEWER_ONLY[::2]), "may only view", id="403"),
    pytest.param(fake.answers(*fake.UNKNOWN_TYPE[::2]), "a path too many or missing", id="404, empty"),
    pytest.param(fake.answers(*fake.DOUBLE_SLASH[::2]), "a path too many or missing", id="404, page"),
    pytest.param(fake.answers(*fake.WRONG_PAGE[::2]), "such as /domoticz", id="400"),
    pytest.param(fake.answers(502, b"<html>Bad Gateway</html>"), "(HTTP 502)", id="502"),
    pytest.param(fake.answers(503, b"<html>"), "(HTTP 503)", id="503"),
    pytest.param(fake.answers(204), "(HTTP 204)", id="204"),
    pytest.param(fake.answers(302, b"", "Location: http://127.0.0.1:1/other"), "redirects elsewhere", id="redirect"),
    pytest.param(fake.answers(200, b"<html>Hello</html>"), "not Domoticz", id="a page"),
    pytest.param(fake.answers(200, b""), "not Domoticz", id="empty"),
    pytest.param(fake.answers(200, b'["OK"]'), "not Domoticz", id="a list"),
    pytest.param(fake.answers(200, b'"OK"'), "not Domoticz", id="a text"),
    pytest.param(fake.answers(200, b"\xff\xfe\x00"), "not Domoticz", id="no UTF-8"),
    pytest.param(fake.answers(200, DEEP), "not Domoticz", id="deeply nested"),
    pytest.param(fake.answers(200, b"1" * 10_000), "not Domoticz", id="a huge number"),
    pytest.param(fake.answers(200, b" " * 50_000_000), "not Domoticz", id="50 MB"),
]


@pytest.mark.parametrize(("trouble", "says"), REFUSED)
def test_refused(meter, trouble, says):
    with fake.FakeDomoticz(trouble=trouble) as domoticz:
        result = push(meter, domoticz.url)
        assert len(domoticz.requests) == 1  # never sent again
    assert result.code == 7
    assert says in result.one_line()
    assert result.seconds < 2 + SLACK


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:{unused}", "nothing listens"),
        ("https://127.0.0.1:{unused}", "nothing listens"),
        ("http://no-such-host.invalid:8080", "is not known"),
        ("http://" + "x" * 70 + ".invalid", ""),
        ("http://[::1:8080", "must look like"),
    ],
)
def test_not_reached(meter, url, says):
    result = push(meter, url.replace("{unused}", str(unused_port())))
    assert result.code == (2 if says == "must look like" else 7)
    assert says in result.one_line()
    assert result.seconds < 10 + SLACK


def test_a_server_that_comes_back_within_seconds_gets_the_value(meter):
    port = unused_port()
    started = []

    def start() -> None:
        started.append(fake.FakeDomoticz(port=port).__enter__())

    threading.Timer(1.2, start).start()
    result = push(meter, f"http://127.0.0.1:{port}")
    started[0].__exit__()
    assert (result.code, result.err) == (0, "")
    assert started[0].pushes == [("12", "16235")]


@pytest.mark.parametrize(
    ("trouble", "seconds"),
    [
        (fake.hangs, kr.READ_TIMEOUT),
        (fake.hangs_after_headers, kr.READ_TIMEOUT),
        (fake.drips, kr.ALL_TIMEOUT),
    ],
)
def test_silence(meter, trouble, seconds):
    with fake.FakeDomoticz(trouble=trouble) as domoticz:
        result = push(meter, domoticz.url)
        assert len(domoticz.requests) == 1
    assert result.code == 7
    assert "did not answer in time" in result.one_line()
    assert result.seconds < seconds + 2 + SLACK


def redirects_without_end(handler: fake.Handler) -> bool:
    handler.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n")
    with contextlib.suppress(OSError):
        for _ in range(1000):
            handler.wfile.write(b"x" * 1_000_000)
    handler.domoticz.cut_short = handler.wfile.closed or _ < 900
    return True


def test_what_comes_with_a_redirect_is_not_read(meter):
    with fake.FakeDomoticz(trouble=redirects_without_end) as domoticz:
        result = push(meter, domoticz.url)
        assert result.code == 7
        assert "redirects elsewhere" in result.one_line()
        assert result.seconds < 3 + SLACK
        domoticz.closing.wait(0.5)
        assert domoticz.cut_short


def breaks_off(handler: fake.Handler) -> bool:
    return True


def test_a_connection_that_breaks_off_is_not_tried_again(meter):
    with fake.FakeDomoticz(trouble=breaks_off) as domoticz:
        result = push(meter, domoticz.url)
        assert len(domoticz.requests) == 1
    assert result.code == 7
    assert "--url begin with https" in result.one_line()


# Login and https


def users(**more):
    return fake.FakeDomoticz(users={USER: PASSWORD}, **more)


def test_login(meter):
    with users(tls="localhost") as domoticz:
        result = push(meter, domoticz.url, "--insecure", env=LOGIN)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert domoticz.pushes == [("12", "16235")]
    assert len(domoticz.requests) == 1  # with the first request, unasked


def test_login_over_plain_http_where_it_is_allowed(meter):
    with users(plain_login=True) as domoticz:
        assert push(meter, domoticz.url, env=LOGIN).code == 0


@pytest.mark.parametrize(
    ("domoticz", "env"),
    [
        (users, {}),
        (users, LOGIN),
        (fake.FakeDomoticz, LOGIN),
        (lambda: users(plain_login=True), {"DOMOTICZ_USER": USER, "DOMOTICZ_PASSWORD": "wrong"}),
    ],
    ids=["none given", "plain http not allowed", "not even from a trusted computer", "wrong password"],
)
def test_login_refused_names_the_three_causes(meter, domoticz, env):
    with domoticz() as server:
        result = push(meter, server.url, env=env)
    assert result.code == 7
    for words in ("DOMOTICZ_PASSWORD", "plain http", "trusted networks"):
        assert words in result.one_line()


def test_viewer(meter):
    with users(plain_login=True, viewers=(USER,)) as domoticz:
        result = push(meter, domoticz.url, env=LOGIN)
    assert result.code == 7
    assert "may only view" in result.one_line()


def test_netrc_is_not_used(meter, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password something\n")
    (tmp_path / ".netrc").chmod(0o600)
    with fake.FakeDomoticz() as domoticz:  # a trusted computer: with a login it would be 401
        result = push(meter, domoticz.url, env={"HOME": str(tmp_path)})
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize("certificate", ["localhost", "selfsigned"])
def test_https_with_a_certificate_of_its_own(meter, certificate):
    with fake.FakeDomoticz(tls=certificate) as domoticz:
        refused = push(meter, domoticz.url)
        assert refused.code == 7
        assert "--insecure" in refused.one_line()
        assert "REQUESTS_CA_BUNDLE" in refused.err
        assert domoticz.pushes == []
        accepted = push(meter, domoticz.url, "--insecure")
        assert (accepted.code, accepted.out, accepted.err) == (0, "", "")
        assert domoticz.pushes == [("12", "16235")]


def test_https_verified_against_the_users_own_ca(meter):
    bundle = {"REQUESTS_CA_BUNDLE": str(fake.DATA / "localhost.pem")}
    with fake.FakeDomoticz(tls="localhost") as domoticz:
        result = push(meter, domoticz.url, env=bundle)
    assert (result.code, result.err) == (0, "")
    with fake.FakeDomoticz(tls="selfsigned") as domoticz:
        assert push(meter, domoticz.url, env=bundle).code == 7
        assert push(meter, domoticz.url, "--insecure", env=bundle).code == 0  # overrides the environment
    missing = {"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"}
    with fake.FakeDomoticz(tls="localhost") as domoticz:
        result = push(meter, domoticz.url, env=missing)
    assert result.code == 7
    assert "/nowhere/ca.pem" in result.one_line()


def test_http_spoken_to_the_https_port(meter):
    with fake.FakeDomoticz(tls="localhost") as domoticz:
        result = push(meter, domoticz.url.replace("https", "http"))
    assert result.code == 7
    assert "begin with https" in result.one_line()


@pytest.mark.parametrize("insecure", [(), ("--insecure",)])
def test_https_spoken_to_the_http_port(meter, insecure):
    with fake.FakeDomoticz() as domoticz:
        result = push(meter, domoticz.url.replace("http", "https"), *insecure)
    assert result.code == 7
    assert "is this the https port" in result.one_line()


# Secrets


def forms() -> list[str]:
    """User and password in all the ways that they could show."""
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    spellings = [(text, json.dumps(text)[1:-1], repr(text.encode())[2:-1]) for text in (USER, PASSWORD)]
    return [token, *itertools.chain.from_iterable(spellings)]


@pytest.mark.parametrize("verbose", [(), ("-v",)], ids=["", "-v"])
@pytest.mark.parametrize(
    "trouble",
    [None, fake.echoes_login, breaks_off, *(row.values[0] for row in REFUSED)],
    ids=["none", "echoes the login", "breaks off", *(row.id for row in REFUSED)],
)
def test_secrets_show_nowhere(meter, trouble, verbose):
    with users(plain_login=True, trouble=trouble) as domoticz:
        result = push(meter, domoticz.url, *verbose, env=LOGIN)
        shown = [result.out, result.err, *domoticz.requests]
    assert result.code == (7 if trouble else 0)
    for secret in forms():
        assert not any(secret in text for text in shown)


@pytest.mark.parametrize("verbose", [(), ("-v",)], ids=["", "-v"])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("tls", ["", "selfsigned"])
def test_secrets_show_nowhere_when_the_connection_fails(meter, tls, scheme, verbose):
    with users(tls=tls) as domoticz:
        url = f"{scheme}://127.0.0.1:{domoticz.port}"
        results = [push(meter, url, *verbose, env=LOGIN)]
    results.append(push(meter, url, *verbose, env=LOGIN))  # it is closed now
    for result, secret in itertools.product(results, forms()):
        assert result.code == 7
        assert secret not in result.out + result.err


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
    ],
)
@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_login_in_the_url_is_refused_and_not_repeated(url, by):
    if by == "option":
        result = run("/dev/null", 60, 1, "--url", url)
    else:
        result = run("/dev/null", 60, 1, env={"DOMOTICZ_URL": url})
    assert result.code == 2
    assert "hush" not in result.one_line()
    if "@" in url:
        assert "DOMOTICZ_USER and DOMOTICZ_PASSWORD" in result.err


@pytest.mark.parametrize(
    "env",
    [
        {"DOMOTICZ_USER": "someone"},
        {"DOMOTICZ_PASSWORD": "something"},
        {"DOMOTICZ_USER": "some:one", "DOMOTICZ_PASSWORD": "something"},
    ],
)
def test_half_a_login(env):
    result = run("/dev/null", 60, 1, env=env)
    assert result.code == 2
    assert "some" not in result.one_line()
