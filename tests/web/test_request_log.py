"""What is logged of a request: the fields of the Arvados dispatcher, and never a token."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import pytest

from dispatcher.web.blank import blanked, blanked_query
from dispatcher.web.request_log import RequestLog

REQUEST = {
    "RequestID", "remoteAddr", "reqForwardedFor", "reqMethod", "reqHost", "reqPath", "reqQuery", "reqBytes",
}  # fmt: skip
ANSWER = {"respStatusCode", "respStatus", "respBytes", "timeTotal", "timeToStatus", "timeWriteBody"}
OWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

ENVIRON = {
    "REQUEST_METHOD": "POST", "PATH_INFO": "/arvados/v1/dispatch/instances/hold", "QUERY_STRING": "instance_id=vm1",
    "REMOTE_ADDR": "10.0.0.7", "REMOTE_PORT": "4711", "HTTP_HOST": "here:9006", "CONTENT_LENGTH": "19",
    "HTTP_X_FORWARDED_FOR": "10.9.9.9",
}  # fmt: skip


class Ticks:
    """Each look is a second later."""

    now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


def answering(status: str, *body: bytes) -> Any:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(status, [("X-Request-Id", environ["HTTP_X_REQUEST_ID"])])
        return list(body)

    return application


def ask(caplog: pytest.LogCaptureFixture, application: Any, **environ: str) -> list[dict[str, Any]]:
    """One request to its end; the fields of what was logged."""
    caplog.set_level(logging.DEBUG)
    asked = RequestLog(application, now=Ticks())({**ENVIRON, **environ}, lambda *given: None)
    assert b"".join(asked) is not None
    asked.close()  # type: ignore[attr-defined]
    return [{name: value for name, value in vars(record).items() if name not in OWN} for record in caplog.records]


def test_a_request_and_its_response(caplog: pytest.LogCaptureFixture) -> None:
    """Two lines with one id; every field has its value."""
    began, ended = ask(caplog, answering("200 OK", b"12", b"345"), HTTP_X_REQUEST_ID="req-mine")
    assert [record.getMessage() for record in caplog.records] == ["request", "response"]
    assert began == {
        "RequestID": "req-mine", "remoteAddr": "10.0.0.7:4711", "reqForwardedFor": "10.9.9.9", "reqMethod": "POST",
        "reqHost": "here:9006", "reqPath": "arvados/v1/dispatch/instances/hold", "reqQuery": "instance_id=vm1", "reqBytes": 19,
    }  # fmt: skip
    assert ended == began | {
        "respStatusCode": 200, "respStatus": "OK", "respBytes": 5, "timeTotal": 2.0, "timeToStatus": 1.0, "timeWriteBody": 1.0,
    }  # fmt: skip


def test_an_answer_that_says_no_is_logged_with_its_words(caplog: pytest.LogCaptureFixture) -> None:
    """As far as a thousand bytes reach."""
    _, ended = ask(caplog, answering("404 Not Found", b"x" * 600, b"y" * 600))
    assert set(ended) == REQUEST | ANSWER | {"respBody"}
    assert (ended["respBody"], ended["respBytes"]) == ("x" * 600 + "y" * 400, 1200)


@pytest.mark.parametrize("sent", ["", "two words", "a\nb", "x" * 65])
def test_an_id_that_is_unfit_is_replaced(caplog: pytest.LogCaptureFixture, sent: str) -> None:
    """By a fresh one, the same in both lines."""
    began, ended = ask(caplog, answering("200 OK"), HTTP_X_REQUEST_ID=sent)
    assert began["RequestID"] == ended["RequestID"]
    assert began["RequestID"].startswith("req-")


@pytest.mark.parametrize(("path", "status", "levels"), [
    ("/metrics", "200 OK", [logging.DEBUG, logging.DEBUG]),
    ("/_health/ping", "503 Service Unavailable", [logging.DEBUG, logging.INFO]),
    ("/arvados/v1/dispatch/instances", "200 OK", [logging.INFO, logging.INFO]),
])  # fmt: skip
def test_what_machines_ask_all_the_time_is_quiet(
    caplog: pytest.LogCaptureFixture, path: str, status: str, levels: list[int]
) -> None:
    """Unless something is wrong."""
    ask(caplog, answering(status), PATH_INFO=path)
    assert [record.levelno for record in caplog.records] == levels


def test_an_application_that_fails_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    """As what the client sees."""

    def failing(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(caplog, failing)
    assert vars(caplog.records[-1])["respStatusCode"] == 500


@pytest.mark.parametrize(("query", "shown"), [
    ("api_token=s3cret&a=1", "api_token=***&a=1"),
    ("a=1&API_TOKEN=s3cret", "a=1&API_TOKEN=***"),
    ("api%5Ftoken=s3cret", "api%5Ftoken=***"),
    ("a=1;api_token=s3cret", "a=1;api_token=***"),
    ("api_token=s3;cret&a=1", "api_token=***&a=1"),
    ("next=/x?api_token=s3cret", "next=/x?api_token=***"),
    ("%61pi%5Ftoken=s3cret", "%61pi%5Ftoken=***"),
    ("api_token", "api_token"),
    ("reason=no+token&instance_id=%2Fa", "reason=no+token&instance_id=%2Fa"),
])  # fmt: skip
def test_a_token_in_a_query_is_blanked(query: str, shown: str) -> None:
    """However its name is written; everything else stays as it was sent."""
    assert blanked_query(query) == shown


def test_a_token_in_any_line_is_blanked() -> None:
    """As gunicorn writes addresses, with quotation marks around them."""
    line = 'GET "/x?a=1&api_token=s3cret" 200 from=10.0.0.1'
    assert blanked(line) == 'GET "/x?a=1&api_token=***" 200 from=10.0.0.1'
