"""All dispatchers of the cluster as one: each is asked, the one that acts answers with what there is.

A dispatcher that stands by answers with empty lists (ours) or not at all (Arvados's): that is said only when nothing was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from typing import Any
from urllib.parse import urlsplit

from dispatcher.cli.operate.ends import FAILED, NOT_ALLOWED, UNREACHABLE, Ended
from dispatcher.cli.operate.place import Place
from dispatcher.edge.management import Answer, Form, ManagementClient, Unreachable, endpoint_of
from dispatcher.frozen import dataclass

API = "arvados/v1/dispatch"
ASKED_AT_ONCE = 8

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A record, and the dispatcher that has it."""

    client: ManagementClient
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What all of them said to one question."""

    answers: Sequence[tuple[ManagementClient, Answer]]
    silent: Sequence[str] = field(default=())

    def good(self) -> list[tuple[ManagementClient, Record]]:
        return [(client, answer.body) for client, answer in self.answers if answer.good and answer.body is not None]


class Dispatchers:
    """Whatever it raises is Ended."""

    def __init__(self, place: Place) -> None:
        self._place = place
        try:
            self.clients = tuple(self._client(url) for url in place.urls)
        except Unreachable as error:
            raise Ended(UNREACHABLE, str(error)) from error

    def _client(self, url: str) -> ManagementClient:
        place = self._place
        return ManagementClient(
            endpoint_of(url, place.token, ca_file=place.ca_file, insecure=place.insecure, timeout_s=place.timeout_s)
        )

    def close(self) -> None:
        for client in self.clients:
            client.close()

    # -- reading

    def instances(self) -> list[Found]:
        """Of all of them. Raises Ended when none can know."""
        return self._items("instances")

    def containers(self) -> list[Found]:
        return self._items("containers")

    def container(self, uuid: str) -> Found | None:
        """None when those that answer do not know it; Ended when none is there that could."""
        said = self.ask(f"{API}/container", {"container_uuid": uuid})
        found = [Found(client=client, record=record) for client, record in said.good()]
        if not found:
            self._explain_nothing(said)
        return found[0] if found else None

    def _items(self, what: str) -> list[Found]:
        said = self.ask(f"{API}/{what}")
        found = [
            Found(client=client, record=record)
            for client, body in said.good()
            for record in body.get("items") or ()
            if isinstance(record, dict)
        ]
        if not found:
            self._explain_nothing(said)
        return found

    def _explain_nothing(self, said: Round) -> None:
        """Nothing there is an answer only of one that is ready: else the reason is what has to be known."""
        known = [answer for _, answer in said.answers if answer.status in (200, 404)]
        if not known:
            raise failure(said)
        health = self.ask("_health/ping")
        if not any(body.get("health") == "OK" for _, body in health.good()):
            raise Ended(UNREACHABLE, "; ".join(not_ready(health)))

    def ask(self, path: str, parameters: Mapping[str, str] | None = None) -> Round:
        """Each of them, at once. Raises Ended when all refuse the token, or none answers."""
        said = self.ask_all(path, parameters)
        if not any(answer.status not in (401, 403) for _, answer in said.answers):
            raise failure(said)
        return said

    def ask_all(self, path: str, parameters: Mapping[str, str] | None = None) -> Round:
        """Each of them, at once; also silence is an answer."""
        return self._each(lambda client: client.get(path, parameters))

    def _each(self, question: Callable[[ManagementClient], Answer]) -> Round:
        def asked(client: ManagementClient) -> tuple[ManagementClient, Answer] | str:
            try:
                return client, question(client)
            except Unreachable as error:
                return mended(client, str(error))

        if len(self.clients) == 1:
            told = [asked(self.clients[0])]
        else:
            with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
                told = list(pool.map(asked, self.clients))
        return Round(
            answers=[each for each in told if not isinstance(each, str)], silent=[each for each in told if isinstance(each, str)]
        )


def post(client: ManagementClient, path: str, form: Form) -> Answer:
    """A change, asked of the dispatcher that has the thing. Raises Ended when it does not answer: it may have been done."""
    try:
        return client.post(f"{API}/{path}", form)
    except Unreachable as error:
        doubt = "it may have been done or not: look before you ask again"
        raise Ended(UNREACHABLE, f"{mended(client, str(error))}; {doubt}") from None


def refused(client: ManagementClient, answer: Answer) -> Ended:
    """The end of a command whose wish a dispatcher refused as a whole."""
    if answer.status in (401, 403):
        return Ended(NOT_ALLOWED, denied(client, answer))
    status = UNREACHABLE if answer.status == 503 else FAILED
    return Ended(status, f"{client.place}: {answer.error or f'HTTP {answer.status} and no sense'}")


def failure(said: Round) -> Ended:
    """When nobody gave an answer that helps: a refused token says more than a silent host."""
    refusals = [(client, answer) for client, answer in said.answers if answer.status in (401, 403)]
    if refusals:
        return Ended(NOT_ALLOWED, "; ".join(denied(client, answer) for client, answer in refusals))
    strange = [f"{client.place}: {answer.error or 'the answer is no JSON object'}" for client, answer in said.answers]
    return Ended(UNREACHABLE, "; ".join((*strange, *said.silent)))


def denied(client: ManagementClient, answer: Answer) -> str:
    """With a mend where the dispatcher itself names none."""
    said = answer.error.partition(": ")[2]
    mend = "" if " " in said else "; it has to be the ManagementToken of that cluster (to look, its ReadOnlyToken does)"
    return f"{client.place} does not accept the token: {answer.error}{mend}"


def not_ready(health: Round) -> Iterable[str]:
    for client, answer in health.answers:
        if answer.good and "health" not in (answer.body or {}):
            yield f"{client.place} does not answer as a dispatcher does: is that its address (InternalURLs, --url)?"
            continue
        yield f"{client.place} is not ready: {(answer.body or {}).get('error') or answer.error or 'no reason given'}"
    yield from health.silent


def mended(client: ManagementClient, text: str) -> str:
    """With what to look at."""
    if "refused" not in text.lower() and "No such file" not in text:
        return text
    host = urlsplit(client.place).hostname
    where = "here" if host in (None, "localhost", "127.0.0.1", "::1") else f"on {host}"
    return f"{text}; does it run {where} (systemctl status cloud-dispatcher), and is that its address (InternalURLs, --url)?"
