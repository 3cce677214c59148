"""Signing in and out: the token is typed once, and a session stands in its place from then on.

The token never stands in an address, in a cookie or on a page. Where someone goes after signing in is a place of ours alone.
"""

from __future__ import annotations

import re

from flask import Blueprint, Response, g, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from dispatcher.core.notes import one_line
from dispatcher.web import parameters, session
from dispatcher.web.auth import TOKEN_BYTES, Door, viewer
from dispatcher.web.session import OPERATOR, Session
from dispatcher.web.view import View

WRONG = "This token is neither the management token nor the read-only token."
NO_TOKEN = "Type the token."  # noqa: S105
PLACE = re.compile(r"/(?![/\\])[ -~]*", re.ASCII)


def blueprint(view: View, door: Door) -> Blueprint:
    made = Blueprint("sign_in", __name__)

    @made.get("/sign-in")
    def form() -> AnyResponse:
        if viewer().session is not None:
            return redirect(place(request.args.get("next", "")), 303)
        return page("", 200)

    @made.post("/sign-in")
    def sign_in() -> AnyResponse:
        token = request.form.get("token", "").strip()
        if not token or len(token) > TOKEN_BYTES:
            return page(NO_TOKEN if not token else WRONG, 403)
        role = door.role_of(request, [token])
        if not isinstance(role, str):
            text = WRONG if role.status_code == 403 else role.get_data(as_text=True)
            return page(text, role.status_code, role.headers.get("Retry-After"))
        opened, cookie = door.sessions.open(role, one_line(request.form.get("name", ""), session.NAME_CHARACTERS))
        _note(view, "sign in", opened)
        return _with_cookie(redirect(place(request.form.get("next", "")), 303), cookie, session.LIFETIME_S)

    @made.post("/sign-out")
    def sign_out() -> AnyResponse:
        found = viewer().session
        if found is not None:
            door.sessions.close(found)
            _note(view, "sign out", found)
        return _with_cookie(redirect("/sign-in", 303), "", 0)

    return made


def page(problem: str, status: int, retry_after: str | None = None) -> Response:
    made = make_response(
        render_template(
            "sign-in.html", problem=problem, next=place(request.values.get("next", "")), name=request.form.get("name", "")[:100]
        ),
        status,
    )
    if retry_after is not None:
        made.headers["Retry-After"] = retry_after
    return made


def place(wanted: str) -> str:
    """An address of this site, whatever a link to the sign-in page says."""
    return wanted if PLACE.fullmatch(wanted) and not wanted.startswith(("/sign-in", "/sign-out")) else "/"


def _with_cookie(answer: AnyResponse, value: str, lifetime_s: int) -> AnyResponse:
    answer.set_cookie(
        session.COOKIE, value, max_age=lifetime_s, httponly=True, samesite="Strict", secure=is_secure(), path="/",
    )  # fmt: skip
    return answer


def is_secure() -> bool:
    """Also when a proxy speaks TLS for us."""
    return request.is_secure or request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower() == "https"


def _note(view: View, act: str, opened: Session) -> None:
    view.audit(
        {
            "Act": act, "Actor": opened.name or parameters.came_from(), "Reason": "", "Status": 200,
            "MayAct": opened.role == OPERATOR, "RemoteAddr": parameters.came_from(),
            "ForwardedFor": request.headers.get("X-Forwarded-For", ""), "RequestID": g.get("request_id", ""),
        }
    )  # fmt: skip
