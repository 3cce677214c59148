"""Who may ask: the token check over every place where a token may stand, as a table."""

from __future__ import annotations

import base64

import pytest
from flask.testing import FlaskClient

from dispatcher.web.app import make_app
from tests.web.fakes import TOKEN, FakeView

PATHS = ["/arvados/v1/dispatch/containers", "/arvados/v1/dispatch/instances", "/metrics", "/_health/ping", "/", "/nonesuch"]


def client(management_token: str = TOKEN) -> FlaskClient:
    return make_app(FakeView(), management_token).test_client(use_cookies=False)


def cookie(value: str) -> dict[str, str]:
    return {"Cookie": f"arvados_api_token={value}"}


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()}


def encoded(token: str) -> str:
    return base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


# what the request carries → status
ACCEPTED = [
    ({"headers": {"Authorization": f"Bearer {TOKEN}"}}, 200),
    ({"headers": {"Authorization": f"bearer  {TOKEN}"}}, 200),
    ({"headers": {"Authorization": f"OAuth2 {TOKEN}"}}, 200),
    ({"headers": basic(TOKEN)}, 200),
    ({"query_string": {"api_token": TOKEN}}, 200),
    ({"headers": cookie(encoded(TOKEN))}, 200),
    ({"headers": {"Authorization": "Bearer wrong"}, "query_string": {"api_token": TOKEN}}, 200),
]
REFUSED = [
    ({}, 401),
    ({"headers": {"Authorization": "Bearer "}}, 401),
    ({"headers": {"Authorization": f"Digest {TOKEN}"}}, 401),
    ({"headers": {"Authorization": "Basic not-base64!"}}, 401),
    ({"headers": cookie("%%%")}, 401),
    ({"headers": cookie(TOKEN)}, 401),  # not in base64
    ({"headers": {"Authorization": "Bearer " + "x" * 5000}}, 401),
    ({"headers": {"Authorization": "Bearer wrong"}}, 403),
    ({"headers": {"Authorization": f"Bearer {TOKEN}x"}}, 403),
    ({"headers": {"Authorization": f"Bearer {TOKEN[:-1]}"}}, 403),
    ({"headers": {"Authorization": "Bearer schlüssel"}}, 403),
    ({"headers": basic("wrong")}, 403),
    ({"query_string": {"api_token": "wrong"}}, 403),
    ({"headers": cookie(encoded("wrong"))}, 403),
]


@pytest.mark.parametrize(("sent", "status"), ACCEPTED + REFUSED)
def test_a_token_is_found_wherever_it_may_stand(sent: dict[str, object], status: int) -> None:
    """No token is 401, a wrong one 403, and one right one is enough."""
    if isinstance(headers := sent.get("headers"), dict):
        headers = {name: value.encode("utf-8").decode("latin-1") for name, value in headers.items()}
        sent = {**sent, "headers": headers}
    assert client().get("/arvados/v1/dispatch/containers", **sent).status_code == status


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD"])
def test_every_address_is_behind_the_token(path: str, method: str) -> None:
    """Also what does not exist: a stranger learns nothing, not even which addresses there are."""
    assert client().open(path, method=method).status_code == 401


@pytest.mark.parametrize("token", ["", "anything", TOKEN])
def test_without_a_configured_token_everything_is_closed(token: str) -> None:
    """A forgotten setting opens nothing, not even to the empty token, and says what to mend."""
    answer = client(management_token="").get("/arvados/v1/dispatch/instances", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403
    assert "ManagementToken" in answer.text


def test_refusals_are_plain_text() -> None:
    """As the Arvados dispatcher answers them."""
    answer = client().get("/arvados/v1/dispatch/instances")
    assert (answer.text, answer.mimetype) == ("Unauthorized\n", "text/plain")


@pytest.mark.parametrize(
    ("origin", "status"), [(None, 400), ("http://localhost", 400), ("http://elsewhere.example", 403), ("null", 403)]
)
def test_another_sites_page_cannot_post_with_the_operators_cookie(origin: str | None, status: int) -> None:
    """A browser sends the cookie along with any page's form; 400 is our own answer to the missing instance_id."""
    headers = {"Cookie": f"arvados_api_token={encoded(TOKEN)}", **({"Origin": origin} if origin else {})}
    assert client().post("/arvados/v1/dispatch/instances/hold", headers=headers).status_code == status
