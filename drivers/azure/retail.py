"""Where retail prices come from: a file, or an address that is asked page by page, without a token and without following
anybody to another host.

Everything has a limit: the time of the call, the number of pages, the size of each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from dispatcher.driver import CloudError, InstanceType, Misconfigured, RateLimited
from drivers.azure import prices
from drivers.azure.answers import JSON, text
from drivers.azure.headers import pace_of

KEY = "RetailPrices"
MAX_FILE_BYTES, MAX_PAGE_BYTES, MAX_PAGES = 64 << 20, 8 << 20, 100
CONNECT_S, READ_S = 10.0, 30.0
TOO_MANY_REQUESTS = 429


def rows_from(source: str, types: Sequence[InstanceType], location: str, currency: str, pages: Pages) -> list[JSON]:
    """The rows of a file, or of all pages. Raises CloudError."""
    if not is_address(source):
        return _rows(_read_file(source), source)
    found: list[JSON] = []
    for address in prices.addresses(source, types, location, currency):
        for page in pages.of(address):
            found += _rows(page, source)
    return found


def is_address(source: str) -> bool:
    return source.lower().startswith("https://")


def _rows(document: object, source: str) -> list[JSON]:
    rows = prices.items_of(document)
    if rows is None:
        raise CloudError(f"{KEY}: {source} does not have the form of retail prices: a mapping with Items, or a list")
    return rows


def _read_file(path: str) -> object:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise Misconfigured(KEY, f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB: keep only the region that is used")
        return json.loads(content)
    except OSError as error:
        raise Misconfigured(KEY, f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise Misconfigured(KEY, f"{path} holds no JSON: {type(error).__name__}") from error


class Pages:
    """The pages of one call. ``left_s`` says how much time is left, and raises CloudError when none is."""

    def __init__(self, session: requests.Session, verify: str | bool, left_s: Callable[[], float]) -> None:
        self._session, self._verify, self._left_s = session, verify, left_s
        self._seen: set[str] = set()

    def of(self, address: str) -> Iterator[object]:
        home = _host(address)
        while address:
            if address in self._seen or len(self._seen) >= MAX_PAGES:
                raise CloudError(f"{KEY}: pages that have no end: {len(self._seen)} were read")
            self._seen.add(address)
            page = self._page(address)
            yield page
            following = text(page.get("NextPageLink")) if isinstance(page, dict) else ""
            address = urljoin(address, following) if following else ""
            if address and _host(address) != home:
                raise CloudError(f"{KEY}: a page of {home[0]} points to another host: nothing was asked there")

    def _page(self, address: str) -> Any:
        left_s = self._left_s()
        try:
            answer = self._session.get(
                address, timeout=(min(CONNECT_S, left_s), min(READ_S, left_s)), verify=self._verify, allow_redirects=False,
                stream=True, headers={"Accept": "application/json"},
            )  # fmt: skip
            with answer:
                _check(answer)
                return json.loads(self._body(answer))
        except requests.RequestException as error:
            raise CloudError(f"{KEY}: {type(error).__name__}: {error}") from error
        except ValueError as error:
            raise CloudError(f"{KEY}: the answer is no JSON") from error

    def _body(self, answer: requests.Response) -> bytes:
        body = b""
        for chunk in answer.iter_content(1 << 16):
            body += chunk
            self._left_s()
            if len(body) > MAX_PAGE_BYTES:
                raise CloudError(f"{KEY}: a page is larger than {MAX_PAGE_BYTES >> 20} MiB")
        return body


def _check(answer: requests.Response) -> None:
    if answer.status_code == TOO_MANY_REQUESTS:
        pace = pace_of(answer.headers)
        raise RateLimited(f"{KEY}: too many requests", retry_after_s=pace.retry_after_s, retry_at=pace.retry_at)
    if answer.status_code != requests.codes.ok:
        raise CloudError(f"{KEY}: HTTP {answer.status_code}")


def _host(address: str) -> tuple[str, str, int]:
    """Azure writes its own links with the port, and is asked without."""
    split = urlsplit(address)
    return (split.hostname or "").lower(), split.scheme.lower(), split.port or 443
