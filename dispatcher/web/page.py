"""The operator's page, the pages of an instance and of a container, and what keeps them live; all read a snapshot and answer.

The parts of the page are made once for all who look. A refresh names what the viewer has, and gets what changed since then.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from flask import Blueprint, Flask, Response, abort, current_app, jsonify, render_template, request
from markupsafe import Markup, escape

from dispatcher.core.history import sample
from dispatcher.core.model import IdleBehavior, State
from dispatcher.core.why import why
from dispatcher.web import details, shown
from dispatcher.web.charts import pictures
from dispatcher.web.errors import Refused
from dispatcher.web.fleet import Wanted, page, state_of
from dispatcher.web.kept import Kept, Rows
from dispatcher.web.overview import Seen, decision
from dispatcher.web.view import Entry, View

STORY = 200
WARNING = 30
PICTURES_S = 20.0  # the pictures tell of hours
ZIPPED_BYTES = 1000  # less is not worth it
ZIP_LEVEL = 5
ASSETS = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
FOLDER = Path(__file__).parent / "static"
PARTS = ("verdict", "funnel", "waiting", "groups", "cloud", "money", "suspects")

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

AGE = re.compile(r'(<time class="age" datetime="([^"]*)"[^>]*>)')


def install(app: Flask, view: View) -> None:
    """The routes, and the words that the templates of all rooms use."""
    app.jinja_env.filters.update(
        address=lambda text: quote(str(text), safe=""), spaced=spaced, money=shown.money, amount=amount, short=short,
        linked=linked,
    )
    assets = {name: (FOLDER / name).read_bytes() for name in ASSETS}
    app.jinja_env.globals["asset"] = lambda name: f"/static/{name}?v={_tag(assets[name])}"
    app.register_blueprint(blueprint(view, assets))


def ready(app: Flask) -> None:
    """Read and compile every template now, so that the first who looks does not wait for it."""
    for name in app.jinja_env.list_templates(extensions=["html"]):
        app.jinja_env.get_template(name)


def blueprint(view: View, assets: Mapping[str, bytes]) -> Blueprint:
    made = Blueprint("page", __name__)
    kept = Kept(view, version(), Renderer(view))
    _static(made, assets)
    _main(made, kept)
    _lists(made, view, kept)
    _details(made, view, kept)
    made.after_request(finish)

    @made.errorhandler(Refused)
    def refused(error: Refused) -> Response:
        return Response(render_template("missing.html", problem=error.text), error.status, mimetype="text/html")

    return made


# ------------------------------------------------------------------------------------------------------------------- routes


def _static(made: Blueprint, assets: Mapping[str, bytes]) -> None:
    """Addresses carry a digest of what is there, so that a browser may keep it for ever."""

    @made.get("/static/<name>")
    def static(name: str) -> Response:
        if name not in assets:
            abort(404)
        answer = unless_known(_tag(assets[name]), lambda: Response(assets[name], mimetype=ASSETS[name]))
        if request.args.get("v") == _tag(assets[name]):
            answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return answer


def _main(made: Blueprint, kept: Kept) -> None:
    @made.get("/")
    def main() -> Response:
        build = kept.newest()
        parts = {name: Markup(html) for name, html in build.parts.items()}  # noqa: S704  (made by our own templates)
        rows = {name: [(key, Markup(html)) for key, html in of.items()] for name, of in build.rows.items()}  # noqa: S704
        text = render_template("page.html", o=build.overview, parts=parts, rows=rows, tag=build.tag)
        return Response(with_ages(text, build.overview["at"]), mimetype="text/html")

    @made.get("/changes")
    def changes() -> Response:
        since = request.args.get("since", "")
        return unless_known(kept.newest().tag, lambda: jsonify(kept.changes(since)), since)

    @made.get("/overview.json")
    def overview() -> Response:
        build = kept.newest()
        return unless_known(build.json_tag, lambda: jsonify(build.overview))


def _lists(made: Blueprint, view: View, kept: Kept) -> None:
    @made.get("/fleet")
    def fleet() -> Response:
        wanted = _wanted()
        state = view.snapshot()
        found = page(state, wanted, kept.wall())
        chosen = {name: value for name in ("type", "state", "behavior") if (value := getattr(wanted, name))}
        text = render_template(
            "fleet.html", f=found, wanted=wanted, chosen=", ".join(shown.plain(each) for each in chosen.values()),
            there=lambda number: "/fleet?" + urlencode({**chosen, "page": number}), **_choices(state),
        )  # fmt: skip
        return Response(with_ages(text, kept.wall().utc(view.monotonic())), mimetype="text/html")

    @made.get("/decisions")
    def decisions() -> Response:
        about, level = request.args.get("about", "").strip()[:300], request.args.get("level", "")
        found = _about(view, about, WARNING if level == "warning" else 0)
        story = [decision(each, kept.wall()) for each in reversed(found)]
        text = render_template("decisions.html", about=shown.plain(about), level=level, story=story)
        return Response(text, mimetype="text/html")


def _wanted() -> Wanted:
    args = request.args
    number = args.get("page", "1")
    return Wanted(
        type=args.get("type", ""), state=args.get("state", ""), behavior=args.get("behavior", ""),
        page=int(number) if number.isascii() and number.isdigit() and len(number) < 7 else 1,
    )  # fmt: skip


def _choices(state: State) -> dict[str, list[str]]:
    instances = state.instances.all()
    return {
        "types": sorted({each.type for each in instances}),
        "states": sorted({state_of(each) for each in instances}),
        "behaviors": [each.value for each in IdleBehavior],
    }


def _about(view: View, about: str, level: int) -> list[Entry]:
    """Whatever the words name: a container by uuid, an instance by our name or the cloud's."""
    if not about:
        return list(view.story.entries(level=level, limit=STORY))
    found = details.find_instance(view.snapshot(), about)
    of_instance = list(view.story.entries(instance=found.name if found is not None else about, level=level, limit=STORY))
    return of_instance or list(view.story.entries(container=about, level=level, limit=STORY))


def _details(made: Blueprint, view: View, kept: Kept) -> None:
    @made.get("/instance/<path:name>")
    def instance(name: str) -> Response:
        state = view.snapshot()
        found = details.find_instance(state, name)
        own = found.name if found is not None else name
        told = details.Told(
            state=state, now_s=view.monotonic(), wall=kept.wall(), entries=list(view.story.entries(instance=own, limit=STORY))
        )
        if found is None and not told.entries:
            raise Refused(404, "There is no such instance, and nothing is remembered of it.")
        return _live(render_template("instance.html", i=details.instance(told, found, own)), kept.wall().utc(told.now_s))

    @made.get("/container/<uuid>")
    def container(uuid: str) -> Response:
        state, now_s = view.snapshot(), view.monotonic()
        found = state.containers.get(uuid)
        told = details.Told(
            state=state, now_s=now_s, wall=kept.wall(), entries=list(view.story.entries(container=uuid, limit=STORY)),
            status=view.statuses().get(uuid, ""), why=why(state, uuid, now_s),
        )  # fmt: skip
        if found is None and not told.entries:
            raise Refused(404, "There is no such container, and nothing is remembered of it.")
        return _live(render_template("container.html", c=details.container(told, found, uuid)), kept.wall().utc(now_s))


def _live(text: str, at: str) -> Response:
    """A page that the browser asks for again and again: what it shows is not sent twice."""
    tag = _tag(re.sub(r'data-at="[^"]*"', "", text).encode())
    return unless_known(tag, lambda: Response(with_ages(text, at), mimetype="text/html"))


# ------------------------------------------------------------------------------------------------------------------ parts


class Renderer:
    """Makes the HTML of an overview's parts by the templates of the page. One thread at a time uses it."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._pictures: dict[str, str] = {}
        self._rows: dict[str, dict[str, tuple[Mapping[str, Any], str]]] = {}
        self._drawn_s = -PICTURES_S

    def __call__(self, seen: Seen, found: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Rows]]:
        module: Any = current_app.jinja_env.get_template("parts.html").module
        parts = {name: str(getattr(module, name)(found)) for name in PARTS}
        parts |= self._drawn(seen, module)
        rows = {
            "fleet": self._row("fleet", module.row, ((each["name"], each) for each in found["fleet"]["shown"])),
            "decisions": self._row("decisions", module.decision, ((str(each["number"]), each) for each in found["decisions"])),
        }
        return parts, rows

    def _row(self, name: str, make: Callable[[Any], object], told: Iterable[tuple[str, Mapping[str, Any]]]) -> Rows:
        """A row that tells the same as the last time is not made anew: nearly all of them."""
        before, now = self._rows.get(name, {}), dict[str, tuple[Mapping[str, Any], str]]()
        for key, values in told:
            known = before.get(key)
            now[key] = known if known is not None and known[0] == values else (values, str(make(values)))
        self._rows[name] = now
        return {key: html for key, (_, html) in now.items()}

    def _drawn(self, seen: Seen, module: Any) -> dict[str, str]:
        if seen.now_s - self._drawn_s >= PICTURES_S:
            charts = pictures(self._view.samples(), sample(seen.state, seen.now_s), seen.wall)
            self._pictures = {f"picture-{each['name']}": str(module.picture(each)) for each in charts}
            self._drawn_s = seen.now_s
        return self._pictures


def with_ages(text: str, now: str) -> str:
    """The ages as they are at this moment, for whoever has no JavaScript."""
    return AGE.sub(lambda found: found[1] + shown.age(found[2], now), text)


def spaced(at: str) -> str:
    """2027-01-15 08:00:00 UTC."""
    return at.replace("T", " ").replace("Z", " UTC")


def linked(told: Mapping[str, Any]) -> Markup:
    """The sentence, in which the names of whom it is about lead to their pages."""
    text = escape(told["text"])
    for kind in ("instance", "container"):
        if name := told[kind]:
            link = Markup('<a class="name" href="/{}/{}">{}</a>').format(kind, quote(name, safe=""), name)
            text = text.replace(escape(name), link, 1)
    return text


def short(uuid: str) -> str:
    """The end of a uuid: what tells it from others."""
    return uuid if len(uuid) <= 12 else f"…{uuid[-8:]}"


def amount(value: float) -> str:
    """A number without an exponent or needless digits."""
    return f"{value:,.2f}".rstrip("0").rstrip(".") if value % 1 else f"{value:,.0f}"


# ---------------------------------------------------------------------------------------------------------------- answers


def unless_known(tag: str, make: Callable[[], Response], known: str = "") -> Response:
    """304 for somebody who has it already."""
    answer = Response(status=304) if known == tag or request.if_none_match.contains_weak(tag) else make()
    answer.set_etag(tag, weak=True)
    answer.headers["Cache-Control"] = "private, no-cache"
    return answer


def finish(answer: Response) -> Response:
    """Nothing foreign is loaded, and whoever takes it is sent it compressed. A page shows what its viewer typed beside secrets
    of the session, which is safe: cookies that are SameSite=Strict stay away from requests that another site makes."""
    answer.headers["Content-Security-Policy"] = PAGE_POLICY
    answer.vary.add("Accept-Encoding")
    if answer.status_code != 200 or answer.direct_passthrough or not request.accept_encodings["gzip"]:
        return answer
    body = answer.get_data()
    if len(body) >= ZIPPED_BYTES:
        answer.set_data(gzip.compress(body, compresslevel=ZIP_LEVEL, mtime=0))
        answer.headers["Content-Encoding"] = "gzip"
    return answer


def _tag(content: bytes) -> str:
    return blake2b(content, digest_size=12).hexdigest()


def version() -> str:
    try:
        return importlib.metadata.version("cloud-dispatcher")
    except importlib.metadata.PackageNotFoundError:
        return "dev"
