"""The queue as a process: connections, request forms, races, and the end of the process at any moment."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest

from dispatcher.embedded.forms import BODY_GREATEST_BYTES
from tests.embedded.desk import WORK
from tests.embedded.live import LiveQueue

FORM = "application/x-www-form-urlencoded"


def test_eight_calls_for_one_lock_have_one_winner(live: LiveQueue) -> None:
    """Exactly one 200; the others are told that it is locked."""
    uuid = live.queued()
    tokens = [live.root_token, (live.folder / "admin.token").read_text()] * 4
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda token: live.call("POST", f"containers/{uuid}/lock", token=token), tokens))
    assert sorted(status for status, _ in answers) == [200] + [422] * 7
    assert all("cannot lock when Locked" in answer["errors"][0] for status, answer in answers if status == 422)
    assert live.container(uuid)["lock_count"] == 1


def test_a_connection_serves_many_requests(live: LiveQueue) -> None:
    """Connections are kept open, also after a refusal and after a body that nobody wanted."""
    connection = live.connection()
    headers = {"Authorization": f"Bearer {live.root_token}"}
    for method, path, body, status in (
        ("GET", "users/current", None, 200),
        ("POST", "containers/zzzzz-dz642-xxxxxxxxxxxxxxx/lock", b"x" * 5000, 404),
        ("GET", "nonesuch", None, 404),
        ("GET", "users/current", None, 200),
    ):
        connection.request(method, f"/arvados/v1/{path}", body, headers)
        response = connection.getresponse()
        response.read()
        assert (response.status, response.will_close) == (status, False)
    connection.close()


@pytest.mark.parametrize(
    ("method", "query", "body", "kind"),
    [
        ("PUT", "", {"container": {"progress": 0.5}}, "application/json"),
        ("PATCH", "", {"container": {"progress": 0.5}}, "application/json"),
        ("PUT", "", {"progress": 0.5}, "application/json"),
        ("PUT", "", urlencode({"container": '{"progress": 0.5}'}), FORM),
        ("PUT", "", urlencode({"container[progress]": "0.5"}), FORM),
        ("POST", "", urlencode({"_method": "PUT", "container": '{"progress": 0.5}'}), FORM),
        ("PUT", "?" + urlencode({"container": '{"progress": 0.5}'}), None, FORM),
    ],
)
def test_an_update_is_understood_in_every_form(live: LiveQueue, method: str, query: str, body: object, kind: str) -> None:
    """JSON with and without the name around it, forms, and the query."""
    uuid = live.queued()
    live.done("POST", f"containers/{uuid}/lock")
    live.done("PUT", f"containers/{uuid}", {"state": "Running"})
    assert live.call(method, f"containers/{uuid}{query}", body, kind=kind)[1]["progress"] == 0.5


@pytest.mark.parametrize("body", ["[]", '{"container": "x"}', '{"container": [1]}'])
def test_a_body_that_is_no_record_changes_nothing(live: LiveQueue, body: str) -> None:
    """Either nothing is named, which changes nothing, or what is named is no object, which is refused."""
    uuid = live.queued()
    status, answer = live.call("PUT", f"containers/{uuid}", body)
    assert status == 200 or "No container hash provided with request" in answer["errors"][0]
    assert live.container(uuid)["state"] == "Queued"


def test_long_lists_come_as_posts(live: LiveQueue) -> None:
    """With the method in a header, as the Go and Python clients send them, or in the form; not within JSON."""
    uuid = live.queued()
    filters = json.dumps([["uuid", "in", [uuid]]])
    connection = live.connection()
    headers = {"Authorization": f"Bearer {live.root_token}", "X-Http-Method-Override": "GET", "Content-Type": FORM}
    connection.request("POST", "/arvados/v1/containers", urlencode({"filters": filters, "count": "none"}), headers)
    assert [item["uuid"] for item in json.loads(connection.getresponse().read())["items"]] == [uuid]
    connection.close()
    status, answer = live.call("POST", "containers", urlencode({"_method": "GET", "filters": filters}), kind=FORM)
    assert (status, len(answer["items"])) == (200, 1)
    assert live.call("POST", "containers", {"_method": "GET", "filters": filters})[0] == 422


@pytest.mark.parametrize(
    ("path", "status", "phrase"), [("containers/{}", 422, "ParseError"), ("container_requests/{}", 400, "EOF")]
)
def test_a_body_that_is_no_json_is_refused(live: LiveQueue, path: str, status: int, phrase: str) -> None:
    """Each of the two dialects in its way."""
    found, answer = live.call("PUT", path.format(live.queued()), '{"container":')
    assert found == status
    assert phrase in answer["errors"][0]


def test_a_huge_body_is_not_read(live: LiveQueue) -> None:
    """The length alone is enough to refuse it; the connection ends."""
    connection = live.connection()
    connection.putrequest("POST", "/arvados/v1/containers")
    connection.putheader("Authorization", f"Bearer {live.root_token}")
    connection.putheader("Content-Length", str(BODY_GREATEST_BYTES + 1))
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, response.will_close) == (413, True)
    response.read()
    connection.close()


def test_what_is_refused_names_the_request(live: LiveQueue) -> None:
    """The id that the client gave stands in the error and in the header."""
    connection = live.connection()
    headers = {"Authorization": f"Bearer {live.root_token}", "X-Request-Id": "req-mine"}
    connection.request("GET", "/arvados/v1/containers/zzzzz-dz642-xxxxxxxxxxxxxxx", headers=headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    assert answer["errors"] == ["Path not found (req-mine)"]
    assert set(answer) == {"errors", "error_token"}
    assert response.getheader("X-Request-Id") == "req-mine"


@pytest.mark.parametrize("path", ["containers/abc", "containers/1", "containers/zzzzz-4zz18-1v45jub259sjjgb", "nonesuch"])
def test_what_does_not_exist_is_not_found(live: LiveQueue, path: str) -> None:
    """Wrong uuids, numbers and other kinds of record are all the same: 404."""
    assert live.call("GET", path)[0] == 404


def test_the_certificate_is_the_queues_own(live: LiveQueue) -> None:
    """Without the certificate of the data folder nobody is fooled into trusting it."""
    context = ssl.create_default_context()
    connection = http.client.HTTPSConnection(live.description["host"], timeout=10, context=context)
    with pytest.raises(ssl.SSLCertVerificationError):
        connection.request("GET", "/")
    connection.close()


def test_secrets_are_readable_by_their_owner_alone(live: LiveQueue) -> None:
    """Tokens, key and database are nobody else's, and no token is in the log."""
    for name in ("root.token", "user.token", "admin.token", "certificate.key", "queue.json", "queue.sqlite"):
        assert (live.folder / name).stat().st_mode & 0o077 == 0, name
    assert live.root_token not in (live.folder / "log").read_text()


def test_accounts_are_added_while_the_queue_runs(live: LiveQueue) -> None:
    """The command prints the file of the new token, and the queue knows it at once; the root token is out of its reach."""
    for arguments, is_admin in ((["--user", "friend"], False), (["--user", "second", "--system"], True)):
        made = accounts_command(live, *arguments)
        token = Path(made.stdout.strip()).read_text()
        assert live.call("GET", "users/current", token=token)[1]["is_admin"] is is_admin
    assert accounts_command(live, "--user", "root").returncode == 2
    assert accounts_command(live, "--user", "../x").returncode == 2


def accounts_command(live: LiveQueue, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dispatcher.embedded.accounts", "--data", str(live.folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_folder_is_served_once(live: LiveQueue) -> None:
    """A second queue on the same folder says who is in the way and what to do, and ends."""
    second = subprocess.run(
        [sys.executable, "-m", "dispatcher.embedded.serve", "--data", str(live.folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert f"another queue serves {live.folder}" in second.stderr
    assert live.call("GET", "users/current")[0] == 200


def test_plain_http_is_served_on_request(own_queue: LiveQueue) -> None:
    """Without TLS, when asked to; SIGTERM ends it in order."""
    queue = own_queue
    queue.start("--plain-http", "--cluster-id", "zwxyz")
    assert queue.description["url"].startswith("http://")
    assert queue.done("GET", "users/current")["uuid"].startswith("zwxyz-tpzed-")
    assert queue.stop() == 0


def test_a_kill_in_the_middle_of_writes_loses_no_answered_one(own_queue: LiveQueue) -> None:
    """What was answered is there after kill -9, on the same port; what was not answered is whole or not there."""
    queue = own_queue
    queue.start()
    port, answered = queue.description["port"], []
    writers = [threading.Thread(target=write_until_it_ends, args=(queue, answered)) for _ in range(4)]
    for writer in writers:
        writer.start()
    while len(answered) < 20 and any(writer.is_alive() for writer in writers):
        threading.Event().wait(0.01)
    assert queue.kill(signal.SIGKILL) == -signal.SIGKILL
    for writer in writers:
        writer.join()
    queue.start()
    assert queue.description["port"] == port
    check_whole(queue, answered)
    assert queue.stop() == 0


def write_until_it_ends(queue: LiveQueue, answered: list[tuple[str, str]]) -> None:
    """Ask, lock and cancel, and note what was answered: (request, container that was cancelled)."""
    try:
        while True:
            request = queue.done("POST", "container_requests", {"container_request": WORK})
            uuid = request["container_uuid"]
            queue.done("POST", f"containers/{uuid}/lock")
            queue.done("PUT", f"containers/{uuid}", {"state": "Cancelled"})
            answered.append((request["uuid"], uuid))
    except (OSError, http.client.HTTPException, ValueError):
        return


def check_whole(queue: LiveQueue, answered: list[tuple[str, str]]) -> None:
    """A cancelled container always has its retry: both are one transaction."""
    for request_uuid, container_uuid in answered:
        request = queue.done("GET", f"container_requests/{request_uuid}")
        assert queue.container(container_uuid)["state"] == "Cancelled"
        assert (request["container_count"], request["container_uuid"] != container_uuid) == (2, True)
    for request in queue.done("GET", "container_requests?limit=1000")["items"]:
        container = queue.container(request["container_uuid"])
        assert container["state"] in ("Queued", "Locked"), "a request was left without a live container"


def test_the_process_names_itself(live: LiveQueue) -> None:
    """queue.json tells the pid, so that whoever started it can end it."""
    assert live.process is not None
    assert live.description["pid"] == live.process.pid != os.getpid()
