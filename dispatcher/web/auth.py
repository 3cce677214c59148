"""Who may ask: everything stands behind the cluster's ManagementToken.

No token configured: 403 for all, so that a forgotten setting opens nothing. No token sent: 401. A wrong one: 403. The answers
are plain text, as the Arvados dispatcher gives them.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from urllib.parse import urlsplit

from flask import Request, Response

COOKIE = "arvados_api_token"
TOKEN_BYTES = 4096  # longer ones are no tokens

NOT_CONFIGURED = "Management API authentication is not configured: set ManagementToken in the cluster's configuration\n"
UNAUTHORIZED = "Unauthorized\n"
FORBIDDEN = "Forbidden\n"
OF_HEALTH = {UNAUTHORIZED: "authorization required\n", FORBIDDEN: "authorization error\n"}  # its checks have words of their own
FOREIGN_PAGE = "Forbidden: the request comes from a page of another site\n"


def refusal(request: Request, management_token: str) -> Response | None:
    """The answer to someone who may not ask, or None."""
    if not management_token:
        return _text(NOT_CONFIGURED, 403)
    tokens = sent_tokens(request)
    if not tokens:
        refused = _text(_words(request, UNAUTHORIZED), 401)
        refused.headers["WWW-Authenticate"] = "Bearer"
        return refused
    if not any(same(token, management_token) for token in tokens):
        return _text(_words(request, FORBIDDEN), 403)
    if request.method not in ("GET", "HEAD", "OPTIONS") and from_a_foreign_page(request):
        return _text(FOREIGN_PAGE, 403)
    return None


def same(token: str, expected: str) -> bool:
    """Compared in a time that tells nothing about how much of it is right."""
    return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass"))


def sent_tokens(request: Request) -> list[str]:
    """Every token that the request carries, in whatever place one may stand."""
    found = [*_from_header(request.headers.get("Authorization", "")), *request.args.getlist("api_token")]
    found += _decoded(request.cookies.get(COOKIE, ""), urlsafe=True)
    return [token for token in found if token and len(token) <= TOKEN_BYTES]


def _from_header(header: str) -> list[str]:
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() in ("bearer", "oauth2"):
        return [rest.strip()]
    if scheme.lower() == "basic":
        return [pair.partition(":")[2] for pair in _decoded(rest.strip())]
    return []


def _decoded(text: str, *, urlsafe: bool = False) -> list[str]:
    """What stands in base64, with or without its padding; nothing when it is no base64."""
    padded = text + "=" * (-len(text) % 4)
    try:
        raw = base64.urlsafe_b64decode(padded) if urlsafe else base64.b64decode(padded, validate=True)
        return [raw.decode("utf-8")]
    except (binascii.Error, ValueError):
        return []


def from_a_foreign_page(request: Request) -> bool:
    """A browser adds cookies and Basic passwords to requests that other sites' pages make; it names their origin then."""
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != request.host


def _words(request: Request, usual: str) -> str:
    return OF_HEALTH[usual] if request.path.startswith("/_health/") else usual


def _text(text: str, status: int) -> Response:
    return Response(text, status, mimetype="text/plain")
