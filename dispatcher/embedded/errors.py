"""What an API call is refused with: a status and one text per reason.

``app.py`` alone turns these into answers, in the dialect of the path that was called; phrases that clients look for are kept
exactly, with the class names that the real server prints around them.
"""

from __future__ import annotations

from collections.abc import Sequence

from .values import inspect


class ApiError(Exception):
    """A refused call. ``status`` is HTTP's; ``messages`` are the reasons; ``bare`` texts get no request id and no path."""

    def __init__(self, status: int, messages: str | Sequence[str], *, bare: bool = False) -> None:
        self.status = status
        self.messages = [messages] if isinstance(messages, str) else list(messages)
        self.bare = bare
        super().__init__("; ".join(self.messages))


def raised(kind: str, text: str | None = None, status: int = 422) -> ApiError:
    """An error in the form of a raised exception: ``#<kind: text>``."""
    return ApiError(status, f"#<{kind}: {text or kind}>")


def denied(text: str | None = None) -> ApiError:
    return raised("ArvadosModel::PermissionDeniedError", text, status=403)


def lock_failed(text: str) -> ApiError:
    return raised("ArvadosModel::LockFailedError", text)


def bad_argument(text: str) -> ApiError:
    return raised("ArgumentError", text)


def unknown_attribute(name: str, model: str) -> ApiError:
    return raised("ActiveModel::UnknownAttributeError", f"unknown attribute '{name}' for {model}.")


def bad_statement(text: str) -> ApiError:
    """A value that the database of the real server cannot take for the type of the attribute."""
    return ApiError(422, f"#<ActiveRecord::StatementInvalid:{inspect(f'PG::InvalidTextRepresentation: ERROR:  {text}')}>")


def not_found() -> ApiError:
    return ApiError(404, "Path not found")


def not_logged_in() -> ApiError:
    return ApiError(401, "Not logged in")


def foreign_cluster(cluster_id: str, status: int) -> ApiError:
    return ApiError(status, f"no proxy available for cluster {cluster_id}", bare=True)
