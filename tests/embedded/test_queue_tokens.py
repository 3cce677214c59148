"""Who is let in, as whom, and how long: tokens of users, of the system and of containers."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from dispatcher.embedded.resources import CONTAINERS
from tests.embedded.desk import ROOT_SECRET, Desk

ROOT_TOKEN = "zzzzz-gj3su-000000000000000"


def parts(token: str) -> tuple[str, str]:
    _, uuid, secret = token.split("/")[:3]
    return uuid, secret


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nonsense",
        "v2/zzzzz-gj3su-aaaaaaaaaaaaaaa/abcdef",
        "v2/{uuid}/wrong",
        "v2/{uuid}",
        "v2/zzzzz-gj3su-aaaaaaaaaaaaaaa/" + ROOT_SECRET,
        "v1/{uuid}/{secret}",
    ],
)
def test_every_wrong_token_gets_the_same_answer(desk: Desk, token: str) -> None:
    """401 and the same words: nobody learns which part was wrong."""
    uuid, secret = parts(desk.tokens["user"])
    desk.tokens["x"] = token.format(uuid=uuid, secret=secret)
    status, text = desk.refused("x", "GET", "users/current")
    assert status == 401
    assert "Not logged in" in text
    status, text = desk.refused("x", "GET", "containers")
    assert (status, text.split(" (")[0]) == (401, "Not logged in")


def test_all_forms_of_a_good_token_are_the_same_user(desk: Desk) -> None:
    """The long form, the bare secret, the salted secret, and one that names a container that does not exist."""
    uuid, secret = parts(desk.tokens["user"])
    salted = hmac.new(secret.encode(), b"zzzzz", hashlib.sha1).hexdigest()
    found = set()
    for token in (desk.tokens["user"], secret, f"v2/{uuid}/{salted}", f"v2/{uuid}/{secret}/zzzzz-dz642-xxxxxxxxxxxxxxx"):
        desk.tokens["x"] = token
        found.add(desk.done("x", "GET", "users/current")["uuid"])
    assert len(found) == 1


@pytest.mark.parametrize("token", [ROOT_SECRET, f"v2/{ROOT_TOKEN}/{ROOT_SECRET}"])
def test_the_root_token_is_the_system(desk: Desk, token: str) -> None:
    """It has a uuid of its own and is an administrator."""
    desk.tokens["x"] = token
    assert desk.done("x", "GET", "api_client_authorizations/current")["uuid"] == ROOT_TOKEN
    assert desk.done("x", "GET", "users/current")["is_admin"] is True


def test_scopes_bound_what_a_token_may_do(desk: Desk) -> None:
    """A token for reading reads; its own record is told whatever the scopes are."""
    made = desk.done("user", "POST", "api_client_authorizations", {"api_client_authorization": {"scopes": ["GET /"]}})
    desk.tokens["reader"] = f"v2/{made['uuid']}/{made['api_token']}"
    assert desk.done("reader", "GET", "containers")["items"] == []
    assert desk.refused("reader", "POST", "container_requests", {})[0] == 403
    none = desk.done("user", "POST", "api_client_authorizations", {"api_client_authorization": {"scopes": []}})
    desk.tokens["none"] = f"v2/{none['uuid']}/{none['api_token']}"
    assert desk.refused("none", "GET", "users/current")[0] == 403
    assert desk.done("none", "GET", "api_client_authorizations/current")["scopes"] == []


def test_a_token_ends_at_its_time(desk: Desk) -> None:
    """An expired token is as good as none."""
    body = {"api_client_authorization": {"expires_at": "2016-01-01T00:00:00Z"}}
    made = desk.done("user", "POST", "api_client_authorizations", body)
    desk.tokens["old"] = f"v2/{made['uuid']}/{made['api_token']}"
    assert desk.refused("old", "GET", "users/current")[0] == 401


def test_a_container_token_lives_as_long_as_the_lock(desk: Desk) -> None:
    """Each lock makes a new one, and it ends with the lock."""
    uuid = desk.ask()["container_uuid"]
    desk.lock(uuid)
    first = desk.inside(uuid)
    assert desk.done(first, "GET", "containers/current")["uuid"] == uuid
    user = desk.done("user", "GET", "users/current")["uuid"]
    assert desk.done(first, "GET", "users/current")["uuid"] == user
    desk.done("root", "POST", f"containers/{uuid}/unlock")
    assert desk.refused(first, "GET", "users/current")[0] == 401
    old = desk.tokens[first]
    desk.lock(uuid)
    assert desk.tokens[desk.inside(uuid)] != old
    desk.put(uuid, state="Running")
    desk.put(uuid, state="Complete", exit_code=0)
    assert desk.refused(uuid, "GET", "users/current")[0] == 401


def test_only_the_holder_learns_the_container_token(desk: Desk) -> None:
    """403 for every other token, the container's own included, and when nobody holds the lock."""
    uuid = desk.ask()["container_uuid"]
    path = f"containers/{uuid}/auth"
    assert desk.refused("root", "GET", path)[0] == 403
    desk.lock(uuid)
    desk.inside(uuid)
    for who in ("other", "user", uuid):
        status, text = desk.refused(who, "GET", path)
        assert (status, "Not locked by your token" in text) == (403, True)


def test_secrets_are_told_to_the_container_only(desk: Desk) -> None:
    """Not to its dispatcher, never in a record, and they are gone with the end."""
    secret = {"/secret/x": {"kind": "text", "content": "hush"}}
    request = desk.ask(secret_mounts=secret)
    uuid = request["container_uuid"]
    desk.lock(uuid)
    path = f"containers/{uuid}/secret_mounts"
    assert desk.refused("root", "GET", path)[0] == 403
    assert desk.done(desk.inside(uuid), "GET", path) == {"secret_mounts": secret}
    assert "hush" not in str(desk.container(uuid)) + str(request)
    desk.put(uuid, state="Cancelled")
    assert b"hush" not in dump(desk, uuid)


def dump(desk: Desk, uuid: str) -> bytes:
    """What the database still holds of a container."""
    with desk.store.read() as transaction:
        return str(transaction.get(CONTAINERS, uuid)).encode()


def test_a_token_that_was_brought_along_is_used_and_survives(desk: Desk) -> None:
    """With runtime_token no token is made; the container uses that one."""
    uuid, secret = parts(desk.tokens["user"])
    container = desk.ask(runtime_token=desk.tokens["user"])["container_uuid"]
    desk.lock(container)
    assert desk.container(container)["auth_uuid"] is None
    auth = desk.done("root", "GET", f"containers/{container}/auth")
    assert (auth["uuid"], auth["api_token"]) == (uuid, secret)
    desk.put(container, state="Cancelled")
    assert desk.done("user", "GET", "users/current")["username"] == "user"


def test_a_token_that_belongs_to_no_container_has_no_current_one(desk: Desk) -> None:
    """404 with a sentence."""
    status, text = desk.refused("root", "GET", "containers/current")
    assert (status, "Token is not associated with a container." in text) == (404, True)
