"""Health as the Arvados dispatcher answers it, with one difference: what is not OK answers 503, so that load balancers see it.

There is no check without the token: what is wrong with a cluster is nobody's business but its operators'.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from dispatcher.web.view import Health, View


def blueprint(view: View) -> Blueprint:
    made = Blueprint("health", __name__)

    @made.get("/_health/ping")
    def ping() -> tuple[Response, int]:
        health = view.health()
        return jsonify(answer(health)), 200 if health.ready else 503

    return made


def answer(health: Health) -> dict[str, Any]:
    """``health`` and ``error`` are upstream's; the rest tells an operator where to look."""
    made: dict[str, Any] = {"health": "OK"} if health.ready else {"health": "ERROR", "error": health.problem or "not ready"}
    if health.warnings:
        made["warnings"] = list(health.warnings)
    made["loops"] = {beat.name: {"age_s": round(beat.age_s, 1), "late": beat.late} for beat in health.heartbeats}
    return made
