"""Pushing to Domoticz: what makes a sensor show a reading, refusals, HTTP, login, https.

situation                                       test
----------------------------------------------- -------------------------------------------------
each recorded sensor: what fits it, what not    test_recorded_sensors
rounding, units as owners write them            test_svalues
Counters of any Type and Divider, any reading   test_a_counter_shows_the_reading_or_is_refused
units of different quantities                   test_units_of_two_quantities_do_not_mix
a push, --dry-run, --multiply                   test_a_push_..., test_dry_run_..., test_multiply_...
refusals through the program                    test_refused
failed calls: words, -v, secrets, no repetition test_failures, test_not_reached
https, login, proxies, ~/.netrc, URLs           test_certificates, test_logins, test_urls, ...
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import socket
import threading
from decimal import Decimal
from fractions import Fraction

import fake_domoticz as fake
import pytest
import simulated_meter as sim
from hypothesis import given
from hypothesis import strategies as st
from program import PROXY_VARIABLES, Result, run, wait_until

import kamstrup_read as kr

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

LOOK = "/json.htm?type=command&param=getdevices&rid=12&used=all&displaydisabled=1"
PUSH = "/json.htm?type=command&param=udevice&idx=12&nvalue=0&svalue=16235"


@pytest.fixture(scope="module")
def meter():
    """A meter whose register 60 is 16.235 GJ."""
    with sim.KmpMeter() as meter:
        yield meter


@pytest.fixture
def call(capsys, meter):
    """Call main() with the meter's port and these arguments."""

    def call_main(*arguments: object) -> Result:
        code = kr.main([meter.port, *map(str, arguments)])
        out, err = capsys.readouterr()
        return Result(code, out, err, 0.0)

    return call_main


@pytest.fixture
def domoticz():
    with fake.FakeDomoticz() as domoticz:
        yield domoticz


def reading(text: str) -> kr.Reading:
    """Such as "16.235 GJ"."""
    value, _, unit = text.partition(" ")
    return kr.Reading(60, Decimal(value), unit)


def counter(counter_type: int, divider: float, unit: str = "") -> fake.Device:
    (device,) = fake.results(fake.LOOKS, "Counter Custom GJ, divider 1000, Energy (GJ)")
    settings = {"SwitchTypeVal": counter_type, "Divider": divider, "ValueUnits": unit}
    return {**device, **settings}


def custom_sensor(unit: str) -> fake.Device:
    (device,) = fake.results(fake.LOOKS, "Custom Sensor 'kW'")
    return {**device, "SensorUnit": unit}


HEAT, WATER = "16.235 GJ", "147.307 m3"
NO_READING = ("", "", "16.235", "{SubType} |is {idx} the right idx? (a Pressure: --multiply 1)")
RECORDED = {  # the recorded sensor: it shows this reading, for this push; refuses this one, and why
    "fresh Counter, nothing set": ("4509.722 kWh", "4509722", WATER, "set its Type to Water"),
    "Counter Energy, default divider": (HEAT, "4509722", "5 l", "set its Type to Water"),
    "Counter Gas, default divider": (WATER, "14731", HEAT, "m3, not GJ: is 3 the"),
    "Counter Water, default divider": ("147307 l", "14731", "0.12345 m3", "set it to 100000 in"),
    "Counter Water, divider 1000": (WATER, "147307", HEAT, "(--create makes a sensor for GJ)"),
    "Counter Custom GJ, divider 1000, Energy (GJ)": (HEAT, "16235", "1 l/h", "GJ, not l/h: "),
    "Counter Custom GJ, divider not set": ("16 GJ", "16", HEAT, "Divider of 1, too small"),
    "Counter Custom GJ, divider 100": (HEAT, "1624", "1.2345 GJ", "set it to 10000 in"),
    "Counter Custom GJ, divider 3.6": ("", "", HEAT, "Divider of 3.5999999046325684: set it"),
    "Counter Custom without a unit": ("5 l/h", "5000", "16.23567 l/h", "set it to 100000 in"),
    "Counter Custom m\u00b3": (WATER, "147307", "6.4 kW", "m\u00b3, not kW: is 11 the"),
    "Counter Custom ' GJ '": (HEAT, "16235", "5", "GJ, not a plain number: is 12 the"),
    "Counter Energy Generated": ("4.5 MWh", "4500000", "1 ton", "kWh, not ton: "),
    "Counter Time": ("", "", HEAT, "set its Type to"),
    "Counter Custom, offset 100": (HEAT, "16235", "3 bar", "GJ, not bar: "),
    "Temperature": ("67.25 C", "67.25", "40.34 K", "C, not K: "),
    "Custom Sensor 'kW'": ("6.40 kW", "6.40", HEAT, "kW, not GJ: "),
    "Custom Sensor 'W'": ("6.4 kW", "6400", "231 l/h", "W, not l/h: "),
    "Custom Sensor ''": ("6.4 unit 93", "6.4", "", ""),
    "Custom Sensor 'm\u00b3'": ("147.307 l", "0.147", "67.25 C", "m\u00b3, not C: "),
    "Counter whose value can't be read ('12,34')": ("", "", HEAT, "push once with"),
    "the same after one good push": (HEAT, "16235", WATER, "27 the right idx? (--create makes a"),
    "a Counter of other hardware (disabled too)": ("", "", WATER, "to House: is 30 the right"),
    "its hardware is switched off": ("", "", HEAT, "enable Dummy in Setup > Hardware"),
    **dict.fromkeys(("Incremental", "Electric", "Text", "Switch", "Pressure"), NO_READING),
}


@pytest.mark.parametrize("what", RECORDED)
def test_recorded_sensors(what):
    """Refusals name the sensor and the cure. That a sensor is not in use is no reason."""
    fits, svalue, misfit, words = RECORDED[what]
    (device,) = fake.results(fake.LOOKS, what)
    if fits:
        assert kr.svalue_for(reading(fits), device) == svalue
        assert kr.svalue_for(reading(fits), {**device, "Used": 0}) == svalue
    if misfit:
        with pytest.raises(kr.DomoticzError) as refusal:
            kr.svalue_for(reading(misfit), device)
        assert str(refusal.value).startswith(f'sensor {device["idx"]} "{device["Name"]}" ')
        for word in words.format(**device).split("|"):
            assert word in str(refusal.value)


@pytest.mark.parametrize(
    ("device", "text", "svalue"),
    [
        (counter(3, 1000, "GJ"), "16.2345 GJ", "16235"),  # exactly half: up
        (counter(3, 1000, "GJ"), f"1{'0' * 30}.001 GJ", f"1{'0' * 30}001"),
        (custom_sensor("kW"), "1E+3 kW", "1000"),
        (custom_sensor("W"), "1.50 GW", "1500000000"),
        (custom_sensor("kW"), "5", "5"),
        (custom_sensor("MW"), "6.5 kW", "0.007"),  # exactly half: up
        (custom_sensor("MW"), "-0.4 kW", "0"),
        (custom_sensor("m\u00b3/h"), "231 l/h", "0.231"),
        (custom_sensor("\u00b0C"), "67.25 C", "67.25"),
        (custom_sensor("Liter"), "5 l", "5"),
        (custom_sensor("litre"), "5.12340 l", "5.12340"),
        (custom_sensor(" Gj "), "16.235 GJ", "16.235"),
    ],
)
def test_svalues(device, text, svalue):
    assert kr.svalue_for(reading(text), device) == svalue


JOULES = {"cal": Fraction("4.1868"), "Wh": 3600, "J": 1}
PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
ENERGIES = {f"{p}{unit}": PREFIXES[p] * JOULES[unit] for p in PREFIXES for unit in JOULES}
POWERS = {f"{p}W": size for p, size in PREFIXES.items()}
FAMILIES = (ENERGIES, POWERS, {"l": 1, "m3": 1000}, {"l/h": 1, "m3/h": 1000})
COUNTERS = [(0, "kWh"), (1, "m3"), (2, "m3"), (4, "kWh"), *((3, unit) for unit in ENERGIES)]


@given(
    st.sampled_from(COUNTERS),
    st.sampled_from([1.0, 10.0, 100.0, 1000.0, 1e6]),
    st.decimals(-(10**9), 10**9, places=None, allow_nan=False) | st.decimals(0, 10**7, places=3),
    st.data(),
)
def test_a_counter_shows_the_reading_or_is_refused(kind, divider, value, data):
    """It shows svalue / Divider, to half a step. Refused where a step is more than ten digits."""
    counter_type, unit = kind
    family = next(family for family in FAMILIES if unit in family)
    other_unit = data.draw(st.sampled_from([*family]))
    wanted = kr.Reading(60, value, other_unit)
    ratio = Fraction(family[other_unit]) / family[unit]
    device = counter(counter_type, divider, unit if counter_type == 3 else "")
    step_in_digits = 1 / (Fraction(10) ** value.as_tuple().exponent * ratio * int(divider))
    if step_in_digits <= 10:
        svalue = kr.svalue_for(wanted, device)
        assert abs(int(svalue) - Fraction(value) * ratio * int(divider)) <= Fraction(1, 2)
        return
    with pytest.raises(kr.DomoticzError, match=r"set it to 10+ in its Edit dialog") as refusal:
        kr.svalue_for(wanted, device)
    needed = int(str(refusal.value).partition("set it to ")[2].split()[0])
    kr.svalue_for(wanted, {**device, "Divider": float(needed)})


def test_units_of_two_quantities_do_not_mix():
    families = [*FAMILIES, *({unit: 1} for unit in ("C", "bar", "ton", "h", "V"))]
    units = [unit for family in families for unit in family]
    for unit, shown in itertools.product(units, units):
        alike = any(unit in family and shown in family for family in families)
        mismatch = pytest.raises(kr.DomoticzError, match=f"shows {shown}, not {unit}: ")
        for device in (counter(3, 1e15, shown), custom_sensor(shown)):
            with contextlib.nullcontext() if alike else mismatch:
                kr.svalue_for(reading(f"1 {unit}"), device)


def test_a_push_looks_at_the_sensor_and_makes_it_show_the_reading(call, domoticz):
    """-v shows each call and how it ended."""
    result = call(60, 12, "--url", domoticz.url, "-v")
    assert (result.code, result.out) == (0, "")
    assert domoticz.requests == [LOOK, PUSH]
    assert domoticz.devices["12"]["Data"] == "16.235 GJ"
    look, answer, push, response = result.err.splitlines()[-4:]
    assert (look, push) == (f"-> GET {domoticz.url}{LOOK}", f"-> GET {domoticz.url}{PUSH}")
    assert answer.startswith("<- HTTP 200, ")
    assert response.endswith("bytes: OK, Update Device")


OFFSET = {"AddjValue": 100.0, "Data": "116.201 GJ"}
DRY_RUNS = {  # register, idx, what is special; what would be pushed to what, shown, is shown
    "kWh": (60, 1, {}, "4509722", '"Counter" (Counter)', "4509.722 kWh", "16.235 kWh"),
    "offset": (60, 12, OFFSET, "16235", '"Heating" (Counter)', "116.235 GJ", "116.201 GJ"),
}


@pytest.mark.parametrize("case", DRY_RUNS)
def test_dry_run_prints_what_would_be_pushed_and_shown(call, domoticz, case):
    register, idx, changes, svalue, sensor, shows, now = DRY_RUNS[case]
    domoticz.devices[str(idx)].update(changes)
    result = call(register, idx, "--url", domoticz.url, "--dry-run")
    assert (result.code, result.err, result.out.count("\n")) == (0, "", 1)
    assert result.out.startswith(f"would push {svalue} to sensor {idx} {sensor}, ")
    assert f"would show {shows}" in result.out
    assert now in result.out.partition(shows)[2]
    call(register, idx, "--url", domoticz.url).printed()
    assert domoticz.pushes == [(str(idx), svalue)]


@pytest.mark.parametrize(
    ("register", "factor", "svalue"),
    [
        (60, "1000", "16235"),
        (60, "200.00", "3247"),
        (60, "0.0000001", "0.0000016235"),
        (60, f"1{'0' * 40}1", f"1623500{'0' * 34}16.235"),
        (85, "-1", "0"),
    ],
)
def test_multiply_pushes_the_exact_product_without_a_look(call, domoticz, register, factor, svalue):
    words = (register, 11, f"--multiply={factor}", "--url", domoticz.url)
    result = call(*words, "--dry-run")
    assert (result.code, result.err, result.out.count("\n")) == (0, "", 1)
    assert result.out.startswith(f"would push {svalue} to sensor 11, ")
    assert domoticz.requests == []
    call(*words).printed()
    assert domoticz.requests == [PUSH.replace("idx=12", "idx=11").replace("16235", svalue)]


OLD = fake.only("getdevices", fake.answers(200, fake.ERR[1]))
NUMBERS = fake.only("getdevices", fake.answers(200, b'{"status":"OK","result":[1]}'))
REFUSED = {  # idx, what the server does, words of the message
    "another unit": (13, None, ['"Hot water" shows m3, not GJ: is 13 the right', "--create"]),
    "no such sensor": (99, None, ["has no sensor 99, or this user may not see", "--multiply"]),
    "an old Domoticz": (12, OLD, ["older than 2023.2?", "--multiply"]),
    "rubbish": (12, NUMBERS, ["a list that makes no sense"]),
    "no login": (12, fake.answers(401), ["needs a login", "DOMOTICZ_USER", "trusted networks"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(call, case):
    """In one line, which names the register and the cure; nothing is pushed; so with --dry-run."""
    idx, trouble, words = REFUSED[case]
    with fake.FakeDomoticz(trouble=trouble) as domoticz:
        for options in (["--url", domoticz.url], ["--url", domoticz.url, "--dry-run"]):
            call(60, idx, *options).failed(7, "register 60: ", *words)
    assert domoticz.pushes == []
    assert [request.count("getdevices") for request in domoticz.requests] == [1, 1]


USER, PASSWORD = 'hush\u00f6"1', 'secret \u00e4"&1'  # part of them is the same in any coding
TOKEN = base64.b64encode(USER.encode() + b":" + PASSWORD.encode("latin-1")).decode()


def log_in(monkeypatch: pytest.MonkeyPatch, user: str, password: str) -> None:
    monkeypatch.setenv("DOMOTICZ_USER", user)
    monkeypatch.setenv("DOMOTICZ_PASSWORD", password)


def assert_failed(result: Result, *words: str) -> None:
    """Its last line has these words; user and password are nowhere."""
    assert not any(secret in result.err for secret in ("hush", "secret", TOKEN))
    message = result.err.splitlines()[-1]
    result._replace(err=f"{message}\n").failed(7, *words)


NOT_DOMOTICZ = "is this the address of Domoticz?"
NOT_IN_TIME = "did not answer in time"
LONG = b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (2 * kr.MAX_ANSWER)
FAILURES = {  # what the server does; words of the message; of the answer in -v
    "401": (fake.answers(401, b"<html>"), ["refused the login", "restart", "https"], "HTTP 401"),
    "403": (fake.answers(403, fake.ERR[1]), ["may only view", "Setup > Users"], "bytes: ERR"),
    "403 of a proxy": (fake.answers(403, b"<html>"), ["proxy", "(HTTP 403)"], "HTTP 403"),
    "400": (fake.answers(400), ["does not know this path", "(HTTP 400)"], "HTTP 400"),
    "404": (fake.answers(404), ["does not know this path", "(HTTP 404)"], "HTTP 404"),
    "302": (fake.answers(302, b"", f"Location: {PUSH}"), ["(HTTP 302)"], "HTTP 302"),
    "503, try again": (fake.answers(503, b"", "Retry-After: 0"), ["proxy"], "HTTP 503"),
    "201": (fake.answers(201, fake.OK[1]), ["(HTTP 201)"], "HTTP 201"),
    "ERR": (fake.answers(200, fake.ERR[1]), ["has no sensor 12", "(ERR)"], "22 bytes: ERR"),
    "ok": (fake.answers(200, b'{"status":"ok"}'), ["has no sensor 12"], "15 bytes: ok"),
    "no status": (fake.answers(200, b'{"title":"x"}'), ["has no sensor 12"], "13 bytes: x"),
    "no UTF-8": (fake.answers(200, b"\xff\xfe\x00"), [NOT_DOMOTICZ], "HTTP 200, 3 bytes"),
    "pairs": (fake.answers(200, b'[["status","OK"]]'), [NOT_DOMOTICZ], "HTTP 200, 17 bytes"),
    "deeply nested": (fake.answers(200, b"[" * 60_000), [NOT_DOMOTICZ], "HTTP 200, 60000"),
    "too long": (fake.sends(LONG), [NOT_DOMOTICZ], f"HTTP 200, {kr.MAX_ANSWER} bytes"),
    "cut short": (fake.breaks_off_midway, [], ""),
    "breaks off": (fake.breaks_off, ["broke off: http or https?"], "Remote end closed"),
    "no HTTP": (fake.sends(b"SSH-2.0-OpenSSH_9.2\r\n"), ["broke off", "SSH-2.0"], "SSH-2.0"),
    "hangs": (fake.hangs, [NOT_IN_TIME, "may act all the same"], "timed out"),
    "hangs after headers": (fake.hangs_after_headers, [NOT_IN_TIME], "timed out"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_failures(call, monkeypatch, case):
    """What may have arrived is not sent again, or elsewhere; user and password show nowhere."""
    trouble, words, answer = FAILURES[case]
    if "hangs" in case:
        monkeypatch.setattr(kr, "READ_TIMEOUT", 1.0)
    log_in(monkeypatch, USER, PASSWORD)
    with fake.FakeDomoticz(trouble=trouble) as domoticz:
        result = call(60, 12, "--multiply", 1000, "--url", domoticz.url, "-v")
        wait_until(lambda: domoticz.requests)
    assert domoticz.requests == [PUSH]
    assert_failed(result, f"register 60: Domoticz at {domoticz.url} ", *words)
    response = result.err.splitlines()[-2]
    assert answer in response


def test_the_time_for_an_answer_is_long_enough_and_has_an_end():
    assert 1 <= kr.CONNECT_TIMEOUT <= 10
    assert 5 <= kr.READ_TIMEOUT <= 30


def test_requests_is_missing(tmp_path, meter):
    (tmp_path / "requests.py").write_text("")
    result = run(meter.port, 60, 12, env={"PYTHONPATH": str(tmp_path)})
    result.failed(7, "requests can't be imported: sudo apt install python3-requests", str(tmp_path))


@pytest.fixture
def closed_port():
    """A port of this computer on which nothing listens, unless a server of this test does."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:PORT", ["refused the connection: is it running", "Connection refused"]),
        ("http://no-such-host.invalid:PORT", ["was not found: check the spelling of the host"]),
        ("http://a..b", []),
        ("http://h:x", []),
    ],
)
def test_not_reached(call, monkeypatch, closed_port, url, words):
    log_in(monkeypatch, USER, PASSWORD)
    url = url.replace("PORT", str(closed_port))
    assert_failed(call(60, 12, "--url", url, "-v"), f"Domoticz at {url} ", *words)


def test_a_server_that_comes_back_within_seconds_gets_the_value_once(call, closed_port):
    servers = []
    timer = threading.Timer(
        0.5, lambda: servers.append(fake.FakeDomoticz(port=closed_port).__enter__())
    )
    timer.start()
    call(60, 12, "--url", f"http://127.0.0.1:{closed_port}").printed()
    timer.join()
    servers[0].__exit__()
    assert servers[0].pushes == [("12", "16235")]


INSECURE = "give --insecure if you trust the network"
CERTIFICATES = {  # certificate, CA file, words of the message, none if it is accepted
    "by a CA": ("good", "ca.pem", []),
    "expired": ("expired", "ca.pem", ["certificate has expired", INSECURE]),
    "another host": ("other-host", "ca.pem", ["127.0.0.1", INSECURE]),
    "unknown CA": ("good", "", ["REQUESTS_CA_BUNDLE", "local issuer certificate", INSECURE]),
    "missing CA file": ("good", "nowhere.pem", ["nowhere.pem"]),
}


@pytest.mark.parametrize("case", CERTIFICATES)
def test_certificates(call, monkeypatch, case):
    """Verified by the computer's CAs or REQUESTS_CA_BUNDLE; not at all with --insecure."""
    certificate, ca_file, words = CERTIFICATES[case]
    log_in(monkeypatch, USER, PASSWORD)
    if ca_file:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(fake.DATA / ca_file))
    with fake.FakeDomoticz({USER: fake.User(PASSWORD)}, tls=certificate) as domoticz:
        result = call(60, 12, "--url", domoticz.url)
        call(60, 12, "--url", domoticz.url, "--insecure").printed()
    if words:
        assert_failed(result, domoticz.url, *words)
    else:
        result.printed()
    assert len(domoticz.pushes) == (1 if words else 2)


def test_certificates_are_verified_where_nothing_else_is_said():
    domoticz = fake.FakeDomoticz(tls="selfsigned")
    with domoticz, pytest.raises(kr.DomoticzError, match="certificate"):
        kr.Domoticz(domoticz.url).look(12)


def test_insecure_prints_no_warning_of_a_library(meter):
    with fake.FakeDomoticz(tls="selfsigned") as domoticz:
        run(meter.port, 60, 12, "--url", domoticz.url, "--insecure").printed()
    assert domoticz.pushes == [("12", "16235")]


def test_http_where_https_is_and_the_reverse(call, domoticz):
    with fake.FakeDomoticz(tls="good") as secure:
        call(60, 12, "--url", f"http://127.0.0.1:{secure.port}").failed(7, "http or https?")
    call(60, 12, "--url", f"https://127.0.0.1:{domoticz.port}").failed(7, "its https port?")


@pytest.mark.parametrize(
    ("user", "password"),
    [
        pytest.param("me", " a:b:  c ", id="colons and spaces"),
        pytest.param("me", "\u00e4\u00f6\u00fc\u00df\u00e9\u00ff", id="Latin-1"),
        pytest.param("b\u00e4r\u718a\u20ac", "secret", id="a user in UTF-8"),
        pytest.param("me\r", "secret\r", id="carriage returns"),
        pytest.param("me", "", id="no password"),
    ],
)
def test_logins(call, monkeypatch, user, password):
    """The user goes as UTF-8, the password as Latin-1; both with the first request, unasked."""
    log_in(monkeypatch, user, password)
    users = {user.rstrip("\r"): fake.User(password.rstrip("\r"))}
    with fake.FakeDomoticz(users, plain_login=True) as domoticz:
        call(60, 12, "--url", domoticz.url).printed()
    assert domoticz.requests == [LOOK, PUSH]


@pytest.mark.parametrize(("user", "password"), [("b\udce4r", "secret"), ("me", "p\udce4ss")])
def test_undecodable_bytes_of_a_login_are_only_a_wrong_login(call, monkeypatch, user, password):
    log_in(monkeypatch, user, password)
    with fake.FakeDomoticz({"me": fake.User("secret")}, plain_login=True) as domoticz:
        call(60, 12, "--url", domoticz.url).failed(7, "refused the login")


def test_nothing_of_the_environment_comes_between(
    call, monkeypatch, tmp_path, closed_port, domoticz
):
    """Neither proxies nor ~/.netrc: with a login, plain http would be refused."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password something\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in PROXY_VARIABLES:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{closed_port}")
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    call(60, 12, "--url", domoticz.url).printed()
    assert domoticz.pushes == [("12", "16235")]


@pytest.mark.parametrize("end", ["", "//", "/#/Dashboard"])
@pytest.mark.parametrize("webroot", ["", "/a/b"])
def test_urls(call, webroot, end):
    with fake.FakeDomoticz(webroot=webroot) as domoticz:
        call(60, 12, "--url", domoticz.url.upper() + webroot + end).printed()
    assert domoticz.requests == [webroot + LOOK, webroot + PUSH]


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("127.0.0.1:8080", "put http:// or https:// in front"),
        ("http://127.0.0.1:8080/json.htm?password=hush", "DOMOTICZ_USER"),
        ("http://user:hush@127.0.0.1:8080", "DOMOTICZ_USER"),
    ],
)
def test_wrong_urls(call, monkeypatch, url, word):
    """A login in it is not repeated: there may be a password in it."""
    monkeypatch.setenv("DOMOTICZ_URL", url)
    for options in ((), ("--url", url)):
        assert "hush" not in call(60, 12, "-v", *options).failed(2, word)
