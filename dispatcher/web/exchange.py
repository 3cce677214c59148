"""The body of an answer on its way to the client: whoever stands around the application sees each part of it and its end.

WSGI has no other sign of the end than ``close``, which comes also when the client hangs up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


class Answer:
    """``end`` is called once the body is over; ``passes`` gets each part and gives what is sent."""

    def __init__(self, body: Iterable[bytes], end: Callable[[], None], passes: Callable[[bytes], bytes] | None = None) -> None:
        self._body, self._end, self._passes = body, end, passes

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body) if self._passes is None else map(self._passes, self._body)

    def close(self) -> None:
        try:
            closing = getattr(self._body, "close", None)
            if closing is not None:
                closing()
        finally:
            self._end()
