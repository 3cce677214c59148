"""The pages in a real browser: clicked as a person clicks, looked at in light, dark and narrow, and judged for accessibility.

One browser serves all; each test brings its own dispatcher on a port of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from dispatcher.core.messages import IdleBehaviorSet
from dispatcher.core.model import IdleBehavior
from dispatcher.web.app import make_app
from dispatcher.web.in_thread import serve_in_thread
from tests.web import scenes
from tests.web.browser import NARROW, SMALLEST, WIDE, Browser, browser
from tests.web.fakes import TOKEN, FakeView

pytestmark = pytest.mark.slow

RUNS, IDLE, HELD = (f"compute-zbasi-{number:015d}" for number in (1, 2, 3))
HOSTILE = quote(scenes.HOSTILE, safe="")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
MOST_TABS = 80
LOOKS = [("light", {}), ("dark", {"dark": True}), ("narrow", {"size": NARROW})]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def window(chromium: Browser) -> Browser:
    """Light, wide, signed out, with an empty log."""
    chromium.open("about:blank")
    chromium.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    chromium.be()
    chromium.complaints()
    return chromium


@contextmanager
def served(view: FakeView) -> Iterator[str]:
    with serve_in_thread(make_app(view, TOKEN)) as url:
        yield url


@contextmanager
def looking(window: Browser, view: FakeView, path: str = "/") -> Iterator[str]:
    """Somebody who is signed in looks at a page."""
    with served(view) as url:
        window.be_signed_in(url)
        window.open(url + path)
        yield url
        window.open("about:blank")


def is_live(window: Browser) -> bool:
    """The script has taken over: times are those of the viewer."""
    return "Europe/Berlin" in window.text("#zone")


# ------------------------------------------------------------------------------------------------------------------ clicking


def test_signing_in_and_finding_the_way_around(window: Browser) -> None:
    """From the sign-in page to the overview, to an instance, to the container on it, and back home by the keyboard."""
    with served(scenes.night()) as url:
        window.open(url + "/")
        window.find("#name").send_keys("erika")
        window.find("#token").send_keys(TOKEN, Keys.ENTER)
        window.until(lambda: "Queue" in window.text("main"), "the page after signing in")
        assert TOKEN not in window.driver.current_url
        window.link(RUNS).click()
        window.until(lambda: f"Instance {RUNS}" in window.text("h1"), "the page of the instance")
        window.link(scenes.uuid(1)).click()
        window.until(lambda: f"Container {scenes.uuid(1)}" in window.text("h1"), "the page of the container")
        window.find("body").send_keys(Keys.TAB)
        assert window.run("return document.activeElement.className") == "skip"
        window.find("header .home").send_keys(Keys.ENTER)
        window.until(lambda: "Why containers wait" in window.text("main"), "home again")
        assert window.complaints() == []


def test_what_changes_is_in_its_place_without_a_reload(window: Browser) -> None:
    """Somebody holds an instance: its row, the groups and the money tell it, and what was ticked and opened stays so."""
    view = scenes.night()
    with looking(window, view):
        window.until(lambda: is_live(window), "the script")
        window.run("window.stayed = true")
        window.find("#fleet-groups summary").click()
        box = f"input[value='{RUNS}']"
        window.find(box).click()
        view.post(IdleBehaviorSet(name=IDLE, behavior=IdleBehavior.HOLD, actor="max", reason="", at="2027-01-15T08:00:00Z"))
        row = f"tr[data-key='{IDLE}']"
        window.until(lambda: "HOLD by max" in window.text(row), "the row that says it")
        assert window.run("return window.stayed")
        assert window.find(box).is_selected()
        assert window.run("return document.getElementById('fleet-groups').open")
        assert "0.50" in window.text("[data-part=money]")
        assert window.complaints() == []


def test_instances_come_and_go_in_their_order(window: Browser) -> None:
    """A new one is put where it belongs, one that is gone leaves, and an empty fleet shows no table."""
    view = scenes.night()
    with looking(window, view):
        window.until(lambda: is_live(window), "the script")
        fresh = replace(view.state.instances[IDLE], name="compute-new", id="vm-new", phase_since_s=scenes.NOW, busy_s=scenes.NOW)
        view.state = replace(view.state, instances=view.state.instances.without(HELD).set("compute-new", fresh))
        names = "return [...document.querySelectorAll('[data-rows=fleet] tr')].map(row => row.dataset.key)"
        window.until(lambda: window.run(names) == [RUNS, IDLE, "compute-new"], "the new order")
        view.state = scenes.nothing().state
        window.until(lambda: "There is no instance." in window.text("[data-part=groups]"), "the empty fleet")
        assert not window.find("table.fleet").is_displayed()


def test_a_dispatcher_that_falls_silent_is_noticed(window: Browser) -> None:
    """Nobody takes an old page for the truth; the bar goes when it answers again."""
    view = scenes.night()
    with looking(window, view) as url:
        window.until(lambda: is_live(window), "the script")
        window.driver.execute_cdp_cmd("Network.enable", {})
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        window.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
        window.until(lambda: "what you see is old" in window.text("#offline"), "the bar")
        online = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        window.driver.execute_cdp_cmd("Network.emulateNetworkConditions", online)
        window.until(lambda: not window.find("#offline").is_displayed(), "no bar any more")
        assert url in window.driver.current_url
    window.complaints()  # the browser tells of the network that was away


def test_a_session_that_ends_is_told_with_the_way_back(window: Browser) -> None:
    """The page stays as it is, and says that it is no longer live."""
    with looking(window, scenes.night()) as url:
        window.until(lambda: is_live(window), "the script")
        window.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        window.until(lambda: "signed out" in window.text("#offline"), "the bar")
        assert window.link("Sign in").get_attribute("href") == url + "/sign-in?next=%2F"
    window.complaints()


def test_times_are_the_viewers_and_utc_where_the_pointer_rests(window: Browser) -> None:
    """09:15:50 in Berlin is 08:15:50 in UTC; ages grow by themselves."""
    with looking(window, scenes.night(), "/decisions"):
        window.until(lambda: is_live(window), "the script")
        newest = window.find(".story time")
        assert "09:15:50" in newest.text
        assert newest.get_attribute("title") == "2027-01-15 08:15:50 UTC"


def test_without_javascript_everything_is_there(window: Browser) -> None:
    """Ages as of the page's making, links, forms; it says that times are UTC."""
    window.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    with looking(window, scenes.incident()):
        text = window.find("body").text
        assert "1 min 40 s" in text
        assert "All times are UTC." in text
        window.find("#about").send_keys("compute-zbasi-000000000000004", Keys.ENTER)
        window.until(lambda: "about compute-zbasi-000000000000004" in window.find("h1").text, "the filtered decisions")
        assert len(window.all(".story li")) == 1


HOSTILE_PAGES = ["/", "/fleet", f"/instance/{HOSTILE}", f"/decisions?about={HOSTILE}", f"/container/{scenes.uuid(1)}"]


@pytest.mark.parametrize("path", HOSTILE_PAGES)
def test_hostile_names_are_text_and_stay_in_their_place(window: Browser, path: str) -> None:
    """Nothing of them runs, no control character is left, and the page does not grow wider than the screen."""
    for size in (WIDE, NARROW, SMALLEST):
        window.be(size=size)
        with looking(window, scenes.hostile(), path):
            window.until(lambda: is_live(window), "the script")
            assert "owned" not in window.driver.title.replace(scenes.HOSTILE.replace("\u202e", " "), "")
            assert window.all("main img, main marquee, main script") == []
            assert window.run("return document.documentElement.scrollWidth <= window.innerWidth")
            assert window.complaints() == []


# ---------------------------------------------------------------------------------------------------------------------- acts


def test_a_hold_by_clicks_reaches_the_dispatcher_and_the_page(window: Browser) -> None:
    """Tick, hold, see what would happen, say why, and read it on the overview."""
    view = scenes.night()
    with looking(window, view):
        window.find(f"input[value='{IDLE}']").click()
        window.find("#chosen button[value=hold]").click()
        window.until(lambda: bool(window.all("#reason")), "the preview")
        assert view.posted == []
        window.find("#reason").send_keys("looking at its disk")
        window.find("form.confirm button").click()
        window.until(lambda: "looking at its disk" in window.text("main"), "what was done")
        assert [type(event).__name__ for event in view.posted] == ["IdleBehaviorSet"]
        window.link("Back to the overview").click()
        window.until(lambda: "HOLD" in window.text(f"tr[data-key='{IDLE}']"), "the hold on the page")
        assert window.complaints() == []


def go_to(window: Browser, selector: str) -> ActionChains:
    """By the tabulator alone, from wherever the focus is; what has it can be seen to have it."""
    keys = ActionChains(window.driver)
    for _ in range(MOST_TABS):
        keys.send_keys(Keys.TAB).perform()
        if window.run("return document.activeElement.matches(arguments[0])", selector):
            assert window.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"
            return keys
    raise AssertionError(f"{selector} is not among the first {MOST_TABS} stops")


def test_a_hold_by_the_keyboard_alone(window: Browser) -> None:
    """The same without a pointer: every step is reached in turn, and shows where one is."""
    view = scenes.night()
    with looking(window, view):
        window.until(lambda: is_live(window), "the script")
        go_to(window, f"input[value='{IDLE}']").send_keys(Keys.SPACE).perform()
        go_to(window, "#chosen button[value=hold]").send_keys(Keys.ENTER).perform()
        window.until(lambda: bool(window.all("#reason")), "the preview")
        go_to(window, "#reason").send_keys("no mouse here").perform()
        go_to(window, "form.confirm button").send_keys(Keys.ENTER).perform()
        window.until(lambda: "no mouse here" in window.text("main"), "what was done")
        assert [type(event).__name__ for event in view.posted] == ["IdleBehaviorSet"]


def test_two_tabs_of_one_person_agree(window: Browser) -> None:
    """What is done in one is seen in the other, and so is that one has signed out."""
    view = scenes.night()
    with served(view) as url:
        window.open(url + "/")
        window.find("#token").send_keys(TOKEN, Keys.ENTER)
        window.until(lambda: is_live(window), "the script")
        first = window.driver.current_window_handle
        window.driver.switch_to.new_window("tab")
        try:
            window.open(url + f"/act?act=hold&instance_id={IDLE}")
            window.find("#reason").send_keys("in the other tab", Keys.ENTER)
            window.until(lambda: "Back to the overview" in window.text("main"), "what was done")
            window.driver.switch_to.window(first)
            window.until(lambda: "HOLD" in window.text(f"tr[data-key='{IDLE}']"), "the hold in the other tab")
            window.driver.switch_to.window(window.driver.window_handles[-1])
            window.find("form.who button").click()
            window.until(lambda: bool(window.all("#token")), "signed out")
            window.driver.switch_to.window(first)
            window.until(lambda: "sign in" in window.text("body").lower(), "the other tab says so")
        finally:
            window.driver.switch_to.window(window.driver.window_handles[-1])
            window.driver.close()
            window.driver.switch_to.window(first)


# ------------------------------------------------------------------------------------------------------------- accessibility


def act_preview(name: str) -> str:
    return f"/act?act=kill&instance_id={name}"


JUDGED: list[tuple[str, Callable[[], FakeView], str]] = [
    ("nothing", scenes.nothing, "/"),
    ("night", scenes.night, "/"),
    ("incident", scenes.incident, "/"),
    ("hostile", scenes.hostile, "/"),
    ("fleet", scenes.incident, "/fleet"),
    ("decisions", scenes.incident, "/decisions"),
    ("instance", scenes.night, f"/instance/{HELD}"),
    ("stuck", scenes.incident, "/instance/compute-zbasi-000000000000004"),
    ("container", scenes.incident, f"/container/{scenes.uuid(100)}"),
    ("missing", scenes.night, "/instance/nonesuch"),
    ("sign-in", scenes.night, "/sign-in"),
    ("act", scenes.night, act_preview(RUNS)),
]


@pytest.mark.parametrize(("name", "scene", "path"), JUDGED, ids=[name for name, _, _ in JUDGED])
def test_no_page_shuts_anybody_out(
    window: Browser, name: str, scene: Callable[[], FakeView], path: str, pictures: Path | None
) -> None:
    """axe finds nothing in light, dark and narrow; nothing reaches beyond the screen; the browser's log is empty."""
    with looking(window, scene(), path):
        for details in window.all("details"):
            window.run("arguments[0].open = true", details)
        for look, screen in LOOKS:
            window.be(**screen)  # type: ignore[arg-type]
            assert violations(window) == []
            assert window.run("return document.documentElement.scrollWidth <= window.innerWidth"), look
            if pictures is not None:
                window.picture(pictures / f"{name}-{look}.png")
        window.be(size=SMALLEST)
        assert window.run("return document.documentElement.scrollWidth <= window.innerWidth"), "smallest"
        assert [told for told in window.complaints() if "404" not in told] == []


def violations(window: Browser) -> list[str]:
    """What axe-core finds, with the places. Its script comes from the package, not from the network."""
    import axe_core_python

    if not window.run("return typeof window.axe === 'object'"):
        window.run((Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found: Any = window.driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, {runOnly: arguments[0]}).then(r => done(r.violations), e => done([{id: String(e), nodes: []}]))",
        RULES,
    )
    return [f"{each['id']}: {node['html'][:200]} {node['failureSummary'][:300]}" for each in found for node in each["nodes"]] + [
        each["id"] for each in found if not each["nodes"]
    ]


def test_the_boxes_have_names_and_the_verdict_is_announced(window: Browser) -> None:
    """A screen reader says which instance a box chooses, and reads a new verdict out."""
    with looking(window, scenes.night()):
        assert window.find(f"input[value='{RUNS}']").accessible_name == f"Choose {RUNS}"
        assert window.find("[data-part=verdict]").get_attribute("role") == "status"
        assert window.run("return document.querySelector('h1').textContent").startswith("Operator's view")
