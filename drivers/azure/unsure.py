"""What is known when there is no good answer: whether a request that got none surely never left this host.

Everything that is not sure counts as sent.
"""

from __future__ import annotations

from collections.abc import Iterator

# By name, since they come out of four libraries that wrap one another.
NEVER_LEFT = frozenset(
    (
        "NewConnectionError",
        "NameResolutionError",
        "ConnectTimeout",
        "ConnectTimeoutError",
        "ServiceRequestTimeoutError",
        "ConnectionRefusedError",
        "SSLCertVerificationError",
        "InvalidURL",
    )
)
MAX_DEPTH = 12
OUTAGES = frozenset(("ServiceRequestError", "ServiceResponseError", "ServiceRequestTimeoutError", "ServiceResponseTimeoutError"))


class AlreadyThere(Exception):
    """A machine of this name exists."""


def is_outage(error: BaseException) -> bool:
    """Whether somebody could not be asked, rather than said no."""
    return any(type(one).__name__ in OUTAGES for one in _chain(error, 0))


def surely_not_sent(error: BaseException) -> bool:
    return any(type(one).__name__ in NEVER_LEFT for one in _chain(error, 0))


def _chain(error: BaseException, depth: int) -> Iterator[BaseException]:
    """The error, and those that it was made of."""
    yield error
    if depth >= MAX_DEPTH:
        return
    wrapped = [getattr(error, name, None) for name in ("__cause__", "__context__", "reason", "inner_exception")]
    for one in (*wrapped, *error.args):
        if isinstance(one, BaseException) and one is not error:
            yield from _chain(one, depth + 1)
