"""A command line in front of a dispatcher of ours, and one in front of Arvados's, for the tests of what operators type."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.operated import ArvadosDispatcher, Call, House, caller, our_app, our_view, served


@pytest.fixture
def house(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    view = our_view()
    with served(our_app(view)) as url:
        yield House(view=view, call=caller(capsys, monkeypatch, url))


@pytest.fixture
def arvados() -> ArvadosDispatcher:
    return ArvadosDispatcher()


@pytest.fixture
def theirs(arvados: ArvadosDispatcher, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    with served(arvados.app()) as url:
        yield caller(capsys, monkeypatch, url)
