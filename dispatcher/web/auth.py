"""Who may ask: everything stands behind the cluster's ManagementToken; our read-only token opens what only reads.

No token configured: 403 for all, so that a forgotten setting opens nothing. No token sent: 401, and a browser is sent to the
sign-in page. A wrong one: 403. The answers are plain text, as the Arvados dispatcher gives them.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import math
import time
from collections.abc import Callable
from dataclasses import field
from urllib.parse import quote, urlsplit

from flask import Request, Response, g

from dispatcher.frozen import dataclass
from dispatcher.web import guesses, session
from dispatcher.web.guesses import Guesses
from dispatcher.web.session import OPERATOR, READER, Session, Sessions

COOKIE = "arvados_api_token"
TOKEN_BYTES = 4096  # longer ones are no tokens
FORM_KEY, FORM_KEY_HEADER = "form_key", "X-Form-Key"
READING = ("GET", "HEAD", "OPTIONS")
PUBLIC = ("/sign-in", "/sign-out", "/static/")  # rules of routes: they show nothing of the cluster

NOT_CONFIGURED = "Management API authentication is not configured: set ManagementToken in the cluster's configuration\n"
UNAUTHORIZED = "Unauthorized\n"
FORBIDDEN = "Forbidden\n"
OF_HEALTH = {UNAUTHORIZED: "authorization required\n", FORBIDDEN: "authorization error\n"}  # its checks have words of their own
FOREIGN_PAGE = "Forbidden: the request comes from a page of another site\n"
READS_ONLY = "Forbidden: this token may read and not act; acts need the ManagementToken\n"
STALE_FORM = "Forbidden: the form is not of this session: go back, load the page again and repeat\n"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who asks. ``by_browser``: a browser adds what they showed to every request, also to those that other sites make, so acts
    have to carry ``form_key``."""

    may_act: bool
    name: str = ""
    session: Session | None = None
    by_browser: bool = False
    form_key: str = field(default="", repr=False)


NOBODY = Viewer(may_act=False)


def viewer() -> Viewer:
    """Of the request that is being answered."""
    found: Viewer = g.get("viewer", NOBODY)
    return found


class Door:
    """Both tokens, the sessions that were opened with them, and the memory of wrong ones. ``now`` gives Unix seconds."""

    def __init__(self, management_token: str, read_only_token: str = "", *, now: Callable[[], float] = time.time,
                 ticks: Callable[[], float] = time.monotonic) -> None:  # fmt: skip
        self._tokens = {OPERATOR: management_token, READER: read_only_token}
        self.sessions = Sessions(self._tokens, now)
        self._guesses = Guesses(ticks)

    def refusal(self, request: Request) -> Response | None:
        """The answer to someone who may not ask, or None; then ``viewer`` tells who it is."""
        if not self._tokens[OPERATOR]:
            return _text(NOT_CONFIGURED, 403)
        found = self._of_session(request) or NOBODY if is_public(request) else self._who(request)
        if isinstance(found, Response):
            return found
        g.viewer = found
        return None

    def role_of(self, request: Request, tokens: list[str]) -> str | Response:
        """Which of ours one of these tokens is, or the refusal."""
        came_from = guesses.source(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""))
        if (wait_s := self._guesses.wait_s(came_from)) > 0:
            return too_soon(wait_s)
        right = next((role for role, ours in self._tokens.items() if ours and any(same(token, ours) for token in tokens)), None)
        if right is not None:
            return right
        counted = [self._guesses.wrong(came_from, token) for token in tokens]
        if any(counted):
            log.warning("too many wrong tokens from %s: it is listened to every %.0f s from now on", came_from, guesses.ONE_IN_S)
        return _text(_words(request, FORBIDDEN), 403)

    def _who(self, request: Request) -> Viewer | Response:
        """A token that came with the request itself counts before a session; a wrong one does not end one."""
        tokens = sent_tokens(request)
        role = self.role_of(request, tokens) if tokens else None
        if isinstance(role, str):
            by_browser = not any(same(token, self._tokens[role]) for token in unasked_tokens(request))
            return Viewer(may_act=role == OPERATOR, by_browser=by_browser, form_key=self.sessions.form_key(role, COOKIE))
        return self._of_session(request) or role or _unauthorized(request)

    def _of_session(self, request: Request) -> Viewer | None:
        found = self.sessions.read(request.cookies.get(session.COOKIE, ""))
        if found is None:
            return None
        key = self.sessions.form_key(found.role, found.id)
        return Viewer(may_act=found.role == OPERATOR, name=found.name, session=found, by_browser=True, form_key=key)


def refused_act(request: Request, who: Viewer) -> Response | None:
    """The answer to someone who may ask and not change anything, or not by such a request; None for all others. Looks into the
    body, so its size has to be known by then."""
    if request.method in READING:
        return None
    if from_a_foreign_page(request):
        return _text(FOREIGN_PAGE, 403)
    if is_public(request):
        return None
    if not who.may_act:
        return _text(READS_ONLY, 403)
    return _text(STALE_FORM, 403) if who.session is not None and not has_form_key(request, who) else None


def is_public(request: Request) -> bool:
    return request.url_rule is not None and request.url_rule.rule.startswith(PUBLIC)


def has_form_key(request: Request, who: Viewer) -> bool:
    sent = request.headers.get(FORM_KEY_HEADER) or request.form.get(FORM_KEY, "")
    return same(sent, who.form_key)


def too_soon(wait_s: float) -> Response:
    wait_s = math.ceil(wait_s)
    made = _text(f"Too many wrong tokens came from this address: wait {wait_s} s\n", 429)
    made.headers["Retry-After"] = str(wait_s)
    return made


def same(token: str, expected: str) -> bool:
    """Compared in a time that tells nothing about how much of it is right."""
    return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass"))


def sent_tokens(request: Request) -> list[str]:
    """Every token that the request carries, in whatever place one may stand."""
    found = [*unasked_tokens(request), *_from_basic(request), *_decoded(request.cookies.get(COOKIE, ""), urlsafe=True)]
    return [token for token in found if token and len(token) <= TOKEN_BYTES]


def unasked_tokens(request: Request) -> list[str]:
    """Those that no browser adds by itself."""
    scheme, _, rest = request.headers.get("Authorization", "").strip().partition(" ")
    return [*([rest.strip()] if scheme.lower() in ("bearer", "oauth2") else []), *request.args.getlist("api_token")]


def _from_basic(request: Request) -> list[str]:
    scheme, _, rest = request.headers.get("Authorization", "").strip().partition(" ")
    return [pair.partition(":")[2] for pair in _decoded(rest.strip())] if scheme.lower() == "basic" else []


def _decoded(text: str, *, urlsafe: bool = False) -> list[str]:
    """What stands in base64, with or without its padding; nothing when it is no base64."""
    padded = text + "=" * (-len(text) % 4)
    try:
        raw = base64.urlsafe_b64decode(padded) if urlsafe else base64.b64decode(padded, validate=True)
        return [raw.decode("utf-8")]
    except (binascii.Error, ValueError):
        return []


def from_a_foreign_page(request: Request) -> bool:
    """A browser adds cookies and Basic passwords to requests that other sites' pages make; it says so then. A proxy may have
    renamed us: what it says we are called counts too, since no page can make a browser say that."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return True
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc not in (request.host, request.headers.get("X-Forwarded-Host"))


def wants_pages(request: Request) -> bool:
    """Whether a person looks at the answer: browsers say that they want HTML, programs do not."""
    return "text/html" in request.headers.get("Accept", "").lower()


def _unauthorized(request: Request) -> Response:
    if wants_pages(request):
        return _to_sign_in(request)
    refused = _text(_words(request, UNAUTHORIZED), 401)
    refused.headers["WWW-Authenticate"] = "Bearer"
    return refused


def _to_sign_in(request: Request) -> Response:
    """Who followed a link on another site's page may well be signed in: our cookie stays away from such a request, and comes
    with the next one, which a page of ours makes."""
    wanted = request.full_path.rstrip("?") if request.method in ("GET", "HEAD") else "/"
    there = "/sign-in" + (f"?next={quote(wanted, safe='/')}" if wanted != "/" else "")
    if request.headers.get("Sec-Fetch-Site") != "cross-site":
        return Response("", 303, {"Location": there})
    page = f'<!doctype html><meta http-equiv="refresh" content="0;url={there}"><a href="{there}">Sign in</a>'
    return Response(page, 401, mimetype="text/html")


def _words(request: Request, usual: str) -> str:
    return OF_HEALTH[usual] if request.path.startswith("/_health/") else usual


def _text(text: str, status: int) -> Response:
    return Response(text, status, mimetype="text/plain")
