"""Signing in, out, and what a session or a read-only token may do: through the application, as a browser would."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from dispatcher.core.messages import IdleBehaviorSet
from dispatcher.web.app import make_app
from dispatcher.web.auth import Door
from dispatcher.web.guesses import AT_ONCE
from dispatcher.web.session import COOKIE, LIFETIME_S
from tests.web.fakes import TOKEN, FakeView
from tests.web.test_reading import instance, state

READS = "toy-read-only-token"
LISTS = ["/arvados/v1/dispatch/containers", "/arvados/v1/dispatch/instances", "/metrics", "/metrics.json", "/_health/ping",
         "/_inspect/requests"]  # fmt: skip
HOLD = "/arvados/v1/dispatch/instances/hold"
BROWSER = {"Accept": "text/html,application/xhtml+xml"}
FLEET = state(instance(1))


class Clock:
    now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def client(view: FakeView | None = None, clock: Clock | None = None, cookies: bool = True, **door: str) -> FlaskClient:
    tokens = {"management_token": TOKEN, "read_only_token": READS, **door}
    opened = Door(**tokens, now=clock or Clock(), ticks=lambda: 0.0)
    return make_app(view or FakeView(state=FLEET), tokens["management_token"], door=opened).test_client(use_cookies=cookies)


def sign_in(browser: FlaskClient, token: str = TOKEN, **more: str) -> TestResponse:
    return browser.post("/sign-in", data={"token": token, **more})


def form_key(browser: FlaskClient) -> str:
    """As a page of ours would show it."""
    answer = browser.get("/act?act=hold&instance_id=name-1")
    found = re.search(r'name="form_key" value="([^"]+)"', answer.text)
    assert found is not None, answer.text
    return found[1]


# ----------------------------------------------------------------------------------------------------------------- signing in


def test_the_token_opens_a_session() -> None:
    """From then on no token is needed for reading."""
    browser = client()
    assert browser.get(LISTS[0]).status_code == 401
    answer = sign_in(browser)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert {path: browser.get(path).status_code for path in LISTS} == dict.fromkeys(LISTS, 200)


def test_the_cookie_is_for_our_pages_alone() -> None:
    """No script reads it, no other site's page sends it, it ends, and it is not the token."""
    cookie = sign_in(client()).headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", f"Max-Age={LIFETIME_S}", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    assert base64.urlsafe_b64encode(TOKEN.encode()).decode()[:12] not in cookie


def test_a_name_is_one_line_that_turns_nothing_around() -> None:
    """It stands on every page, in the audit log and in the tags of whatever is held."""
    view = FakeView(state=FLEET)
    browser = client(view)
    sign_in(browser, name="\x1b[31mEve\u202e\n<b>" + "x" * 900)
    assert view.acts[0]["Actor"] == "[31mEve <b>" + "x" * 88 + "…"
    assert "\u202e" not in browser.get("/").text


@pytest.mark.parametrize("sent", [{"base_url": "https://here"}, {"headers": {"X-Forwarded-Proto": "https"}}])
def test_behind_tls_the_cookie_is_for_tls_alone(sent: dict[str, Any]) -> None:
    """Our own or a proxy's."""
    assert "Secure" in client().post("/sign-in", data={"token": TOKEN}, **sent).headers["Set-Cookie"].split("; ")


@pytest.mark.parametrize("token", ["wrong", "", TOKEN + "x", "x" * 5000, "schlüssel"])
def test_a_wrong_token_opens_nothing(token: str) -> None:
    """The page says so, keeps the name, and does not repeat the token."""
    answer = sign_in(client(), token, name="ada")
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False)
    assert 'role="alert"' in answer.text
    assert 'value="ada"' in answer.text
    assert not token or token not in answer.text


def test_who_guesses_is_slowed_down() -> None:
    """By the form and by the header alike; who is signed in goes on, and the right token is not listened to either."""
    browser = client()
    guesser = browser.application.test_client()
    sign_in(browser)
    codes = [sign_in(guesser, f"guess {number}").status_code for number in range(AT_ONCE + 1)]
    assert codes == [403] * AT_ONCE + [429]
    refused = guesser.get(LISTS[0], headers={"Authorization": f"Bearer {TOKEN}"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "2")
    assert sign_in(guesser, TOKEN).status_code == 429
    assert browser.get(LISTS[0]).status_code == 200


@pytest.mark.parametrize(("wanted", "place"), [
    ("/container/zzzzz-dz642-000000000000001?x=1", "/container/zzzzz-dz642-000000000000001?x=1"),
    ("", "/"), ("//evil.example", "/"), ("/\\evil.example", "/"), ("https://evil.example", "/"), ("/\t/evil.example", "/"),
    ("/sign-in", "/"), ("javascript:alert(1)", "/"),
])  # fmt: skip
def test_signing_in_leads_to_where_one_wanted_to_go(wanted: str, place: str) -> None:
    """On this site alone."""
    assert sign_in(client(), next=wanted).headers["Location"] == place


def test_a_browser_without_a_session_is_sent_to_the_sign_in_page() -> None:
    """With where it wanted to go; a program gets its 401."""
    answer = client().get("/container/x?a=1&b=2", headers=BROWSER)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=/container/x%3Fa%3D1%26b%3D2")
    assert client().get("/container/x?a=1", headers={"Accept": "*/*"}).status_code == 401


def test_a_link_on_another_site_finds_who_is_signed_in() -> None:
    """The browser keeps our cookie back from such a request; a page of ours makes the next one."""
    stranger = client()
    answer = stranger.get("/instance/name-1", headers={**BROWSER, "Sec-Fetch-Site": "cross-site"})
    assert 'content="0;url=/sign-in?next=/instance/name-1"' in answer.text
    sign_in(stranger)
    followed = stranger.get("/sign-in?next=/instance/name-1")
    assert (followed.status_code, followed.headers["Location"]) == (303, "/instance/name-1")


def test_such_a_link_cannot_write_our_page() -> None:
    """Whatever stands in the address."""
    answer = client().get('/"><script>x</script>?"><script>', headers={**BROWSER, "Sec-Fetch-Site": "cross-site"})
    assert "<script" not in answer.text


def test_without_a_configured_token_nobody_signs_in() -> None:
    """Not even with the empty token, nor with the read-only one."""
    closed = client(management_token="")
    assert closed.get("/sign-in").status_code == 403
    assert [sign_in(closed, token).status_code for token in ("", READS)] == [403, 403]


def test_who_signed_in_stands_in_the_audit_log() -> None:
    """And who signed out."""
    view = FakeView(state=FLEET)
    browser = client(view)
    sign_in(browser, name=" ada ")
    browser.post("/sign-out")
    assert [(act["Act"], act["Actor"], act["MayAct"]) for act in view.acts] == [
        ("sign in", "ada", True), ("sign out", "ada", True),
    ]  # fmt: skip


def test_signing_out_ends_the_session() -> None:
    """In this browser, and for whoever has a copy of its cookie."""
    browser = client()
    cookie = sign_in(browser).headers["Set-Cookie"].partition(";")[0]
    answer = browser.post("/sign-out")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    assert browser.get(LISTS[0]).status_code == 401
    copied = browser.application.test_client(use_cookies=False)
    assert copied.get(LISTS[0], headers={"Cookie": cookie}).status_code == 401
    assert cookie.startswith(COOKIE)


def test_a_session_ends_with_its_time() -> None:
    """Twelve hours: a shift, and not a week."""
    clock = Clock()
    browser = client(clock=clock)
    sign_in(browser)
    clock.now_s += LIFETIME_S
    assert browser.get(LISTS[0]).status_code == 401


# ------------------------------------------------------------------------------------------------------------------- who may act


def test_a_session_acts_with_the_key_of_its_forms() -> None:
    """In the form or in a header, and under the name that was given at sign-in."""
    view = FakeView(state=FLEET)
    browser = client(view)
    sign_in(browser, name="ada")
    key = form_key(browser)
    assert browser.post(HOLD, data={"instance_id": "vm1", "form_key": key}).status_code == 200
    assert browser.post(HOLD, data={"instance_id": "vm1"}, headers={"X-Form-Key": key}).status_code == 200
    assert [event.actor for event in view.posted if isinstance(event, IdleBehaviorSet)] == ["ada", "ada"]


@pytest.mark.parametrize("sent", [
    {}, {"headers": {"X-Form-Key": "x"}}, {"data": {"instance_id": "vm1", "form_key": ""}},
    {"headers": {"Origin": "http://elsewhere.example", "X-Form-Key": "RIGHT"}},
    {"headers": {"Sec-Fetch-Site": "cross-site", "X-Form-Key": "RIGHT"}},
    {"headers": {"Sec-Fetch-Site": "same-site", "X-Form-Key": "RIGHT"}},
])  # fmt: skip
def test_another_sites_page_cannot_act_with_a_session(sent: dict[str, Any]) -> None:
    """It cannot know the key, and its browser says where the request comes from."""
    view = FakeView(state=FLEET)
    browser = client(view)
    sign_in(browser)
    key = form_key(browser)
    headers = {name: value.replace("RIGHT", key) for name, value in sent.get("headers", {}).items()}
    answer = browser.post(HOLD + "?instance_id=vm1", data=sent.get("data", {}), headers=headers)
    assert (answer.status_code, view.posted) == (403, [])


def test_the_key_of_one_session_is_no_key_of_another() -> None:
    """Who signs in himself gains nothing."""
    one, two = client(), client()
    sign_in(one)
    sign_in(two)
    assert two.post(HOLD, data={"instance_id": "vm1", "form_key": form_key(one)}).status_code == 403


@pytest.mark.parametrize("origin", ["http://localhost", "https://dispatch.example.org"])
def test_a_proxy_may_have_another_name(origin: str) -> None:
    """Its own is what the browser names."""
    browser = client()
    sign_in(browser)
    headers = {"Origin": origin, "X-Forwarded-Host": "dispatch.example.org", "X-Form-Key": form_key(browser)}
    assert browser.post(HOLD, data={"instance_id": "vm1"}, headers=headers).status_code == 200


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()}


def cookie(token: str) -> dict[str, str]:
    return {"Cookie": "arvados_api_token=" + base64.urlsafe_b64encode(token.encode()).decode()}


SHOWN: list[dict[str, Any]] = [
    {"headers": {"Authorization": f"Bearer {READS}"}}, {"headers": basic(READS)}, {"headers": cookie(READS)},
    {"query_string": {"api_token": READS}},
]  # fmt: skip


@pytest.mark.parametrize("sent", SHOWN)
@pytest.mark.parametrize("path", LISTS)
def test_the_read_only_token_reads_everything(path: str, sent: dict[str, Any]) -> None:
    """In every place where a token may stand."""
    assert client(cookies=False).get(path, **sent).status_code == 200


@pytest.mark.parametrize("sent", SHOWN)
@pytest.mark.parametrize("path", ["instances/hold", "instances/drain", "instances/run", "instances/kill", "containers/kill"])
def test_the_read_only_token_never_acts(path: str, sent: dict[str, Any]) -> None:
    """Nor does it preview: it is told why."""
    view = FakeView(state=FLEET)
    answer = client(view, cookies=False).post("/arvados/v1/dispatch/" + path, data={"instance_id": "vm1"}, **sent)
    assert (answer.status_code, view.posted, view.acts) == (403, [], [])
    assert "may read and not act" in answer.text


def test_a_session_of_the_read_only_token_never_acts() -> None:
    """With or without a form's key."""
    view = FakeView(state=FLEET)
    browser = client(view)
    sign_in(browser, READS)
    assert browser.get(LISTS[0]).status_code == 200
    assert browser.post(HOLD, data={"instance_id": "vm1"}).status_code == 403
    assert view.posted == []


def test_the_management_token_wins_over_a_session_that_reads() -> None:
    """What is sent with the request itself is what was meant."""
    browser = client()
    sign_in(browser, READS)
    assert browser.post(HOLD, data={"instance_id": "vm1"}, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_wrong_token_beside_a_session_ends_nothing() -> None:
    """Cookies of other Arvados services may come along."""
    browser = client()
    sign_in(browser)
    assert browser.get(LISTS[0], headers={"Authorization": "Bearer wrong"}).status_code == 200


def test_an_empty_read_only_token_is_nobodys() -> None:
    """A key that is not set opens nothing."""
    for sent in ("", " "):
        assert client(read_only_token="").get(LISTS[0], headers={"Authorization": f"Bearer {sent}"}).status_code == 401
