"""The pages without a browser: what they say, that nothing from outside becomes a part of them, and what a refresh sends."""

from __future__ import annotations

import gzip
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from dispatcher.core.messages import IdleBehaviorSet
from dispatcher.core.model import IdleBehavior
from dispatcher.web.app import make_app
from dispatcher.web.page import linked
from tests.web import scenes
from tests.web.fakes import TOKEN, FakeView

AUTH = {"Authorization": f"Bearer {TOKEN}"}
HELD = "compute-zbasi-000000000000003"
PAGES = ["/", "/fleet", "/decisions", f"/instance/{HELD}", f"/container/{scenes.uuid(1)}"]
ORDER = [
    *("Queue", "Why containers wait", "Fleet", "Cloud", "Money", "Suspects", "Last decisions and acts"),
    "Configuration in force",
]


def client(view: FakeView) -> FlaskClient:
    return make_app(view, TOKEN).test_client()


def get(view: FakeView, path: str, **headers: str) -> TestResponse:
    return client(view).get(path, headers={**AUTH, **headers})


class Outline(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def outline(text: str) -> Outline:
    made = Outline()
    made.feed(text)
    return made


def test_the_page_answers_in_the_order_in_which_one_asks() -> None:
    """The verdict, then what the queue does, why it waits, the fleet, the cloud, the money, the suspects, what was done."""
    text = get(scenes.incident(), "/").text
    assert re.findall(r"<h2[^>]*>([^<]*)</h2>", text) == ORDER
    assert text.index('class="verdict') < text.index("<h2")


def test_the_page_tells_an_incident() -> None:
    """What is refused and until when, what does not go, who does not answer, who forgot a hold, and what boots fail."""
    text = outline(get(scenes.incident(), "/").text).text
    for told in (
        "approved Total Regional Cores quota (100) is reached in westeurope", "in 2 min 10 s", "100 of 100",
        "still there after 9 tries to destroy it", "the resource is locked", "no route to host", "held by max, without an end",
        "medium: 3 of 8 boots failed", "disk /subscriptions/0/disks/compute-zbasi-0000-os is used by no instance",
    ):  # fmt: skip
        assert told in text, told


def test_without_javascript_ages_are_there() -> None:
    """Each as it was when the page was made."""
    text = get(scenes.night(), "/").text
    assert re.search(r'<time class="age" datetime="[^"]+" title="[^"]+ UTC">1 min 40 s</time>', text)
    assert not re.search(r'<time class="age"[^>]*></time>', text)


@pytest.mark.parametrize("path", PAGES)
def test_no_page_needs_anything_from_elsewhere(path: str) -> None:
    """No foreign address, no script and no style inside, and a policy that would stop both."""
    answer = get(scenes.night(), path)
    assert answer.status_code == 200
    for tag, attributes in outline(answer.text).tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
        assert tag != "style"
        assert tag != "script" or attributes.get("src", "").startswith("/static/")
        assert all(not (attributes.get(name) or "").startswith(("http", "//")) for name in ("src", "href", "action"))
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def hostile_pages() -> list[str]:
    name = quote(scenes.HOSTILE, safe="")
    about = [f"/decisions?about={name}", f"/instance/{name}", f"/container/{scenes.uuid(1)}"]
    return ["/", "/fleet", *about, "/changes", "/overview.json"]


@pytest.mark.parametrize("path", hostile_pages())
def test_nothing_from_outside_becomes_a_part_of_a_page(path: str) -> None:
    """Names, notes, errors and sentences are text, without control characters, wherever they stand."""
    answer = get(scenes.hostile(), path)
    assert answer.status_code == 200
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", answer.text)
    assert "\\u001b" not in answer.text
    texts = [answer.text] if answer.mimetype == "text/html" else _fragments(answer.json)
    for text in texts:
        tags = {tag for tag, _ in outline(text).tags}
        assert not tags & {"img", "marquee", "b" if path != "/" else "img"} or "funnel" in text
        assert all(dict(attributes).keys().isdisjoint({"onerror", "onload"}) for _, attributes in outline(text).tags)
        assert "<script>" not in text


def _fragments(answer: Any) -> list[str]:
    """The HTML that a refresh sends; plain values hold none."""
    rows = [html for told in answer.get("rows", {}).values() for html in told.get("changed", {}).values()]
    return [*answer.get("parts", {}).values(), *rows]


def test_priorities_are_text() -> None:
    """64 bits do not go into a number of JavaScript."""
    assert str((1 << 59) + 100) in get(scenes.incident(), f"/container/{scenes.uuid(100)}").text


def test_an_instance_has_its_story_and_leads_to_its_containers() -> None:
    """Who holds it since when and why, what runs there, what happened."""
    text = get(scenes.night(), f"/instance/{HELD}").text
    assert "hold chosen by erika" in outline(text).text
    assert "idle behaviour run → hold (erika: looking at a kernel log)" in text
    assert f'is held: <a class="name" href="/instance/{HELD}">{HELD}</a>' in linked(
        {"text": f"is held: {HELD}", "instance": HELD, "container": ""}
    )
    other = get(scenes.night(), "/instance/compute-zbasi-000000000000001").text
    assert f'href="/container/{scenes.uuid(1)}"' in other


def test_an_instance_is_found_by_the_clouds_id_too() -> None:
    """Which may have slashes in it."""
    view = scenes.night()
    assert f"Instance {HELD}" in get(view, f"/instance/id-{HELD}").text


def test_a_container_that_waits_says_why() -> None:
    """What it waits for, and which instance types were considered."""
    text = outline(get(scenes.incident(), f"/container/{scenes.uuid(100)}").text).text
    assert "Why it waits" in text


@pytest.mark.parametrize("path", ["/instance/none", "/container/none"])
def test_what_nobody_remembers_is_not_found(path: str) -> None:
    """With a sentence that says so."""
    answer = get(scenes.night(), path)
    assert answer.status_code == 404
    assert "nothing is remembered" in answer.text


def test_what_is_gone_has_a_page_as_long_as_its_story_is_remembered() -> None:
    """Most questions are about what is over."""
    view = scenes.night()
    view.story.told = [scenes.FakeEntry(text="is gone", instance="compute-old", at_s=1.0)]
    answer = get(view, "/instance/compute-old")
    assert "It is gone" in answer.text
    assert "is gone" in answer.text


def test_decisions_are_chosen_by_whom_they_are_about_and_by_level() -> None:
    """By the name of an instance, the cloud's id for it, or the uuid of a container."""
    view = scenes.night()
    for about, told in ((HELD, "idle behaviour"), (f"id-{HELD}", "idle behaviour"), (scenes.uuid(1), "starts")):
        shown = re.findall(r'<span class="said">([^<]*)', get(view, f"/decisions?about={about}").text)
        assert len(shown) == 1
        assert shown[0].startswith(told)
    assert len(re.findall('class="said"', get(view, "/decisions?level=warning").text)) == 1


# ---------------------------------------------------------------------------------------------------------------- refreshes


def test_a_refresh_without_news_is_empty() -> None:
    """304, by the tag of the page or by an entity tag."""
    view = client(scenes.night())
    tag = re.search(r'data-tag="(\w+)"', view.get("/", headers=AUTH).text)
    assert tag is not None
    assert view.get(f"/changes?since={tag[1]}", headers=AUTH).status_code == 304
    answer = view.get("/overview.json", headers=AUTH)
    again = view.get("/overview.json", headers={**AUTH, "If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_time_alone_is_no_news() -> None:
    """Ages grow in the browser: what is sent does not change with them."""
    view = scenes.incident()
    first = get(view, "/overview.json").headers["ETag"]
    view.now_s += 7.0
    second = get(view, "/overview.json")
    assert second.headers["ETag"] == first
    assert second.json["at"] == "2027-01-15T08:16:47Z"


def test_a_refresh_sends_what_changed_and_no_more() -> None:
    """One instance was held: its row, and the parts that count it."""
    view = scenes.night()
    web = make_app(view, TOKEN)
    kept = web.test_client()
    tag = re.search(r'data-tag="(\w+)"', kept.get("/", headers=AUTH).text)
    assert tag is not None
    first = "compute-zbasi-000000000000002"
    view.post(IdleBehaviorSet(name=first, behavior=IdleBehavior.DRAIN, actor="erika", reason="", at="2027-01-15T08:00:00Z"))
    news = until_news(kept, tag[1])
    assert set(news["rows"]) == {"fleet"}
    assert set(news["rows"]["fleet"]["changed"]) == {first}
    assert "order" not in news["rows"]["fleet"]
    assert {"groups", "money"} <= set(news["parts"])
    assert not {"verdict", "funnel", "cloud", "suspects"} & set(news["parts"])


def until_news(kept: FlaskClient, tag: str) -> Any:
    """A build serves everybody for a quarter of a second: ask until it is over."""
    while (answer := kept.get(f"/changes?since={tag}", headers=AUTH)).status_code == 304:
        pass
    return answer.json


def test_who_fell_behind_is_sent_everything() -> None:
    """A tag that is not known any more stands for nothing."""
    news = get(scenes.night(), "/changes?since=nonesuch").json
    assert {"verdict", "funnel", "waiting", "cloud", "money", "suspects"} <= set(news["parts"])
    assert len(news["rows"]["fleet"]["order"]) == 3


def test_the_overview_has_all_that_the_page_has() -> None:
    """Programs read what people read."""
    made = get(scenes.incident(), "/overview.json").json
    assert set(made) == {
        *("version", "at", "cluster", "verdict", "funnel", "waiting", "fleet", "cloud", "money", "suspects", "decisions"),
        "settings",
    }  # fmt: skip
    assert set(made["verdict"]) == {"level", "cause", "text", "factors"}
    assert made["fleet"]["count"] == 5
    assert sum(group["count"] for group in made["waiting"]) == 38


def test_what_is_large_is_sent_compressed_to_whoever_takes_it() -> None:
    """And plain to all others."""
    view = scenes.night()
    plain, packed = get(view, "/"), get(view, "/", **{"Accept-Encoding": "gzip, br"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert gzip.decompress(packed.data).startswith(b"<!doctype html>")
    assert len(packed.data) < len(plain.data) / 3


def test_assets_are_kept_for_ever_under_their_digest() -> None:
    """A new version has a new address; under an old one the newest is sent, and not kept."""
    view = client(scenes.nothing())
    address = re.search(r'href="(/static/page\.css\?v=\w+)"', view.get("/", headers=AUTH).text)
    assert address is not None
    assert "immutable" in view.get(address[1]).headers["Cache-Control"]
    assert "immutable" not in view.get("/static/page.css?v=old").headers["Cache-Control"]
    assert view.get("/static/none.css").status_code == 404
    assert view.get("/static/..%2Fpage.py").status_code in (401, 404)


@pytest.mark.parametrize("path", ["/", "/fleet", "/changes", "/overview.json", f"/instance/{HELD}"])
def test_strangers_see_nothing(path: str) -> None:
    """A browser is sent to the sign-in page, a program is told."""
    view = client(scenes.night())
    assert view.get(path).status_code == 401
    sent = view.get(path, headers={"Accept": "text/html"})
    assert (sent.status_code, sent.headers["Location"].partition("?")[0]) == (303, "/sign-in")


def test_who_only_reads_finds_no_buttons() -> None:
    """Boxes to choose by are hidden, and nothing offers to act."""
    text = get(scenes.night(), "/").text
    assert 'class="may-act"' in text
    assert 'name="act"' in text
    from dispatcher.web.auth import Door

    reader = make_app(scenes.night(), TOKEN, door=Door(TOKEN, "only-reads-0123456789")).test_client()
    text = reader.get("/", headers={"Authorization": "Bearer only-reads-0123456789"}).text
    assert 'class=""' in text
    assert 'name="act"' not in text


def test_the_fleet_page_keeps_what_was_chosen() -> None:
    """In its form, and in the way back."""
    text = get(scenes.incident(), "/fleet?state=idle&page=nonsense").text
    assert "Fleet: 2 instances" in text
    assert "<option selected>idle</option>" in text
