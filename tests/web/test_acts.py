"""Acts from the pages: what would happen, the reason, what came of it; and everything that must not happen."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from dispatcher.core.messages import ContainerKillRequested, IdleBehaviorSet, InstanceKillRequested
from dispatcher.core.model import IdleBehavior, Leadership, OperatorNote, Phase
from dispatcher.web.acts import RESULTS
from dispatcher.web.app import BODY_BYTES, PAGE_BODY_BYTES, make_app
from dispatcher.web.effects import effect
from tests.web.fakes import TOKEN, FakeView
from tests.web.test_reading import container, instance, process, state, uuid
from tests.web.test_sign_in import READS, client, sign_in

AUTH = {"Authorization": f"Bearer {TOKEN}"}
HELD = OperatorNote(actor="bob@host", reason="kernel <b>update</b>", until="2027-01-15T10:00:00Z")
BOTH = {uuid(3): process(3), uuid(4): process(4)}
BUSY = instance(3, type="big", processes=BOTH, idle_behavior=IdleBehavior.HOLD, operator=HELD)
FLEET = state(instance(1), instance(2, processes={uuid(2): process(2)}), BUSY, container(2), container(9))
KILL = [("act", "kill"), ("instance_id", "name-1"), ("instance_id", "name-3")]


def signed_in(view: FakeView, name: str = "ada") -> FlaskClient:
    browser = client(view)
    sign_in(browser, name=name)
    return browser


def fields(page: TestResponse) -> list[tuple[str, str]]:
    """The hidden fields of the form that confirms, as a browser would send them."""
    form = page.text.partition('<form class="confirm"')[2]
    return [(name, unescape(value)) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)]


def preview(browser: FlaskClient, given: list[tuple[str, str]]) -> TestResponse:
    return browser.get("/act", query_string=MultiDict(given))


def confirm(browser: FlaskClient, page: TestResponse, **typed: str) -> TestResponse:
    return browser.post("/act", data=MultiDict([*fields(page), *{"reason": "smoke", **typed}.items()]))


# -------------------------------------------------------------------------------------------------------------------- the flow


def test_a_kill_from_preview_to_result() -> None:
    """Two instances, one of them busy and held: seen, reasoned, confirmed, done, written down, and told."""
    view = FakeView(state=FLEET)
    browser = signed_in(view)
    page = preview(browser, KILL)
    assert "Kill 2 instances. 2 running containers will be killed. 1 of the instances is held." in page.text
    assert (page.status_code, view.posted) == (200, [])
    answer = confirm(browser, page)
    assert answer.status_code == 303
    assert view.posted == [InstanceKillRequested(name=f"name-{number}", reason="smoke", actor="ada") for number in (1, 3)]
    assert [(act["Act"], act["Actor"], act["Reason"], act["InstanceName"]) for act in view.acts[1:]] == [
        ("kill", "ada", "smoke", "name-1"), ("kill", "ada", "smoke", "name-3"),
    ]  # fmt: skip
    result = browser.get(answer.headers["Location"])
    assert "Kill: done for 2 instances." in result.text
    assert uuid(3) in result.text


@pytest.mark.parametrize("act", ["hold", "drain", "run"])
def test_an_idle_behavior_is_chosen(act: str) -> None:
    """With a reason and the name of who signed in."""
    view = FakeView(state=FLEET)
    browser = signed_in(view)
    confirm(browser, preview(browser, [("act", act), ("instance_id", "name-1")]))
    (event,) = view.posted
    assert isinstance(event, IdleBehaviorSet)
    assert (event.name, event.behavior, event.actor, event.reason) == ("name-1", IdleBehavior(act), "ada", "smoke")


def test_a_hold_can_end_by_itself() -> None:
    """An empty field is no end."""
    view = FakeView(state=FLEET)
    browser = signed_in(view)
    page = preview(browser, [("act", "hold"), ("instance_id", "name-1")])
    confirm(browser, page, expires="2h")
    confirm(browser, preview(browser, [("act", "hold"), ("instance_id", "name-1")]), expires=" ")
    assert [event.until for event in view.posted if isinstance(event, IdleBehaviorSet)] == ["2027-01-15T10:00:00Z", ""]


def test_a_container_is_killed() -> None:
    """Where it runs is shown before; its instance stays."""
    view = FakeView(state=FLEET)
    browser = signed_in(view)
    page = preview(browser, [("act", "kill"), ("container_uuid", uuid(3)), ("container_uuid", uuid(2))])
    assert "Kill 2 containers. 2 running containers will be killed." in page.text
    assert "vm3" in page.text
    answer = confirm(browser, page)
    assert view.posted == [ContainerKillRequested(uuid=uuid(number), reason="smoke", actor="ada") for number in (3, 2)]
    assert [act["Act"] for act in view.acts[1:]] == ["kill container"] * 2
    assert "done for 2 containers" in browser.get(answer.headers["Location"]).text


def test_a_container_that_waits_cannot_be_killed() -> None:
    """The page says so and has no button."""
    page = preview(signed_in(FakeView(state=FLEET)), [("act", "kill"), ("container_uuid", uuid(9))])
    assert "it runs nowhere yet" in page.text
    assert '<form class="confirm"' not in page.text


def test_a_container_that_ended_meanwhile_is_told() -> None:
    """And the others are killed."""
    view = FakeView(state=FLEET)
    browser = signed_in(view)
    page = preview(browser, [("act", "kill"), ("container_uuid", uuid(2)), ("container_uuid", uuid(3))])
    view.state = state(instance(2), BUSY)
    answer = confirm(browser, page)
    assert [event.uuid for event in view.posted if isinstance(event, ContainerKillRequested)] == [uuid(3)]
    text = browser.get(answer.headers["Location"]).text
    assert "runs nowhere: nothing was done" in text
    assert "1 was left alone" in text


def test_a_selection_is_what_was_shown() -> None:
    """By selectors too: what is like them now and was not on the page is left alone."""
    view = FakeView(state=FLEET)
    browser = signed_in(view)
    page = preview(browser, [("act", "drain"), ("state", "idle")])
    view.state = state(*FLEET.instances.values(), instance(5))
    confirm(browser, page)
    assert [event.name for event in view.posted if isinstance(event, IdleBehaviorSet)] == ["name-1"]


def test_the_form_of_the_overview_leads_to_the_preview() -> None:
    """Boxes and a button: nothing is done yet. What went meanwhile is left out."""
    view = FakeView(state=FLEET)
    browser = signed_in(view)
    key = dict(fields(preview(browser, KILL)))["form_key"]
    page = browser.post("/act", data=MultiDict([*KILL, ("instance_id", "name-88"), ("form_key", key)]))
    assert "Kill 2 instances." in page.text
    assert view.posted == []


# ------------------------------------------------------------------------------------------------------------- what must not be


def test_an_instance_that_got_work_meanwhile_survives_a_kill() -> None:
    """It was shown idle: its new container was not shown."""
    view = FakeView(state=FLEET)
    browser = signed_in(view)
    page = preview(browser, KILL)
    view.state = state(instance(1, processes={uuid(7): process(7)}), BUSY)
    answer = confirm(browser, page)
    assert [event.name for event in view.posted if isinstance(event, InstanceKillRequested)] == ["name-3"]
    assert "changed meanwhile, left alone" in browser.get(answer.headers["Location"]).text


def test_what_ended_meanwhile_saves_nobody() -> None:
    """Fewer containers than were shown: less is lost than was agreed to."""
    view = FakeView(state=FLEET)
    browser = signed_in(view)
    page = preview(browser, KILL)
    view.state = state(instance(1), replace(BUSY, processes={uuid(3): process(3)}))
    confirm(browser, page)
    assert [event.name for event in view.posted if isinstance(event, InstanceKillRequested)] == ["name-1", "name-3"]


def test_what_is_gone_meanwhile_is_told() -> None:
    """The others are done."""
    view = FakeView(state=FLEET)
    browser = signed_in(view)
    page = preview(browser, KILL)
    view.state = state(instance(1))
    answer = confirm(browser, page)
    assert len(view.posted) == 1
    assert "gone already" in browser.get(answer.headers["Location"]).text


def test_sending_the_form_twice_does_nothing_twice() -> None:
    """A double click, or a page that is loaded again."""
    view = FakeView(state=FLEET)
    browser = signed_in(view)
    page = preview(browser, KILL)
    first, second = confirm(browser, page), confirm(browser, page)
    assert first.headers["Location"] == second.headers["Location"]
    assert len(view.posted) == 2


def test_the_results_that_are_kept_are_bounded() -> None:
    """An old one says where else to look."""
    view = FakeView(state=FLEET)
    browser = signed_in(view)
    hold = [("act", "hold"), ("instance_id", "name-1")]
    first = confirm(browser, preview(browser, hold)).headers["Location"]
    for _ in range(RESULTS):
        confirm(browser, preview(browser, hold))
    answer = browser.get(first)
    assert (answer.status_code, "audit log" in answer.text) == (404, True)


def test_without_a_reason_nothing_is_done() -> None:
    """The form comes back with what was typed."""
    view = FakeView(state=FLEET)
    browser = signed_in(view)
    answer = confirm(browser, preview(browser, [("act", "hold"), ("instance_id", "name-1")]), reason=" ", expires="3h")
    assert (answer.status_code, view.posted) == (400, [])
    assert 'role="alert"' in answer.text
    assert 'value="3h"' in answer.text


def test_an_end_that_makes_no_sense_comes_back() -> None:
    """With what is wrong with it."""
    view = FakeView(state=FLEET)
    browser = signed_in(view)
    answer = confirm(browser, preview(browser, [("act", "hold"), ("instance_id", "name-1")]), expires="soon")
    assert (answer.status_code, view.posted) == (400, [])
    assert "has to be a duration" in answer.text


@pytest.mark.parametrize("change", [("form_key", ""), ("form_key", "x"), ("form_key", None)])
def test_without_the_key_of_the_form_nothing_is_done(change: tuple[str, str | None]) -> None:
    """Another site's page cannot know it."""
    view = FakeView(state=FLEET)
    browser = signed_in(view)
    sent = dict(fields(preview(browser, [("act", "kill"), ("instance_id", "name-1")])))
    sent.pop("form_key")
    answer = browser.post("/act", data={**sent, "reason": "x", **({change[0]: change[1]} if change[1] is not None else {})})
    assert (answer.status_code, view.posted) == (403, [])


def test_the_cookie_of_arvados_needs_the_key_too() -> None:
    """On our pages: a browser adds it to whatever another site's page sends. Programs that send the token themselves do not."""
    view = FakeView(state=FLEET)
    browser = make_app(view, TOKEN).test_client(use_cookies=False)
    browser.environ_base["HTTP_COOKIE"] = "arvados_api_token=dG95LW1hbmFnZW1lbnQtdG9rZW4"
    page = preview(browser, [("act", "hold"), ("instance_id", "name-1")])
    assert page.status_code == 200
    sent = {"act": "hold", "instance_id": "name-1", "step": "confirm", "reason": "x"}
    assert browser.post("/act", data=sent).status_code == 403
    assert confirm(browser, page).status_code == 303
    assert browser.post("/act", data=sent, headers=AUTH).status_code == 303
    assert len(view.posted) == 2


@pytest.mark.parametrize("query", ["act=hold&instance_id=name-1", "act=kill&container_uuid=x", "", "act=kill&state=idle"])
def test_who_only_reads_gets_no_preview_and_no_button(query: str) -> None:
    """Nor a result."""
    view = FakeView(state=FLEET)
    browser = client(view)
    sign_in(browser, READS)
    answer = browser.get("/act?" + query)
    assert (answer.status_code, view.posted) == (403, [])
    assert "may read and not act" in answer.text
    assert browser.post("/act", data={"act": "hold", "instance_id": "name-1", "step": "confirm"}).status_code == 403


UNCLEAR = [
    ("", 400, "act parameter not provided"),
    ("act=stop&instance_id=name-1", 400, "unknown act stop"),
    ("act=hold", 400, "instance_id parameter not provided"),
    ("act=hold&instance_id=", 400, "instance_id parameter not provided"),
    ("act=hold&instance_id=name-88", 404, "there is no such instance"),
    ("act=hold&state=idel", 400, "unknown state idel"),
    (f"act=hold&container_uuid={uuid(3)}", 400, "a container can be killed"),
    ("act=<script>alert(1)</script>&instance_id=name-1", 400, "&lt;script&gt;"),
]


@pytest.mark.parametrize(("query", "status", "text"), UNCLEAR)
def test_what_is_not_clear_is_refused_on_a_page(query: str, status: int, text: str) -> None:
    """In words, and as a page."""
    answer = signed_in(FakeView(state=FLEET)).get("/act?" + query)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert text in answer.text


def test_who_does_not_lead_takes_no_orders_from_a_page() -> None:
    """It says who leads."""
    view = FakeView(state=replace(FLEET, leadership=Leadership(holder="host-b")))
    answer = signed_in(view).get("/act", query_string=MultiDict(KILL))
    assert (answer.status_code, "host-b" in answer.text) == (503, True)


def test_text_from_outside_is_escaped() -> None:
    """Reasons, names and whatever a cloud calls things."""
    hostile = instance(6, id='"><script>alert(1)</script>', operator=HELD, idle_behavior=IdleBehavior.HOLD)
    page = preview(signed_in(FakeView(state=state(hostile)), '"><script>'), [("act", "kill"), ("instance_id", "name-6")])
    assert "<script" not in page.text
    assert "<b>" not in page.text
    assert "kernel &lt;b&gt;update" in page.text


def test_a_form_may_name_a_large_fleet() -> None:
    """Larger than what programs may send, and still bounded."""
    view = FakeView(state=state(*(instance(number, id=f"vm{number}" * 8) for number in range(5000))))
    browser = signed_in(view)
    page = preview(browser, [("act", "drain"), ("instance_type", "small")])
    assert BODY_BYTES < sum(len(f"{name}={value}&") for name, value in fields(page)) < PAGE_BODY_BYTES
    assert confirm(browser, page).status_code == 303
    assert len(view.posted) == 5000
    assert browser.post("/act", data=b"x" * (PAGE_BODY_BYTES + 1)).status_code == 413


def test_a_form_has_labels() -> None:
    """For who does not see it."""
    page = preview(signed_in(FakeView(state=FLEET)), [("act", "hold"), ("instance_id", "name-1")])
    ids = set(re.findall(r'<input id="(\w+)"', page.text))
    assert ids == set(re.findall(r'<label for="(\w+)"', page.text))
    assert ids >= {"reason", "expires", "actor"}


# ---------------------------------------------------------------------------------------------------------------- what is said


IDLE, RUNS = instance(1), instance(2, processes={uuid(2): process(2)})
SAID = [
    ("kill", IDLE, "It is destroyed at once."),
    ("kill", RUNS, "It is destroyed at once, and 1 running container with it."),
    ("kill", BUSY, "It is destroyed at once, and 2 running containers with it. It is held: that does not save it."),
    ("kill", instance(1, phase=Phase.SHUTDOWN), "It is being destroyed already."),
    ("drain", IDLE, "It gets no more work, and is destroyed as soon as nothing runs there."),
    ("drain", RUNS, "It gets no more work, and is destroyed at the end of 1 running container."),
    ("hold", IDLE, "It gets no more work, and is kept and paid for until it is released or killed."),
    ("hold", RUNS, "It gets no more work, and is kept and paid for until it is released or killed. "
     "What runs there goes on (1 running container)."),
    ("run", IDLE, "It was not held or drained: it goes on as before."),
    ("run", BUSY, "It gets work again, and is destroyed when it has been idle for too long."),
]


@pytest.mark.parametrize(("act", "given", "text"), SAID)
def test_what_would_happen_is_said(act: str, given: Any, text: str) -> None:
    """In words that hold for this instance."""
    assert effect(act, given) == text
