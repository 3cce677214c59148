"""A small persistent map: setting a key gives a new map and leaves the old one as it was.

Two levels: a fixed row of buckets, each a plain dict. A change copies one bucket and the row, never the whole. Order depends
on keys and history alone, never on the process, so that a simulation repeats exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

V = TypeVar("V")

BUCKETS = 251  # prime: the last letters of uuids and serial numbers spread over it evenly
_EMPTY_ROW: tuple[dict[str, object], ...] = tuple({} for _ in range(BUCKETS))


def _bucket(key: str) -> int:
    return int.from_bytes(key[-8:].encode("utf-8", "surrogatepass"), "little") % BUCKETS


class Map(Mapping[str, V]):
    """An immutable mapping from text to values. ``len`` and iteration see every bucket."""

    __slots__ = ("_count", "_row")

    def __init__(self, items: Iterable[tuple[str, V]] = ()) -> None:
        self._row: tuple[dict[str, V], ...] = _EMPTY_ROW  # type: ignore[assignment]
        self._count = 0
        made = self.update(items)
        self._row, self._count = made._row, made._count

    @classmethod
    def _make(cls, row: tuple[dict[str, V], ...], count: int) -> Map[V]:
        made = cls.__new__(cls)
        made._row, made._count = row, count
        return made

    def __getitem__(self, key: str) -> V:
        return self._row[_bucket(key)][key]

    def get(self, key: str, default: V | None = None) -> V | None:  # type: ignore[override]
        return self._row[_bucket(key)].get(key, default)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in self._row[_bucket(key)]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        for bucket in self._row:
            yield from bucket

    def all(self) -> list[V]:
        """Every value as a list: the fast way for planners, which look at each one once."""
        found: list[V] = []
        for bucket in self._row:
            found.extend(bucket.values())
        return found

    def set(self, key: str, value: V) -> Map[V]:
        """This map with ``key`` holding ``value``; the same map when it does already."""
        index = _bucket(key)
        bucket = self._row[index]
        if bucket.get(key) is value and key in bucket:
            return self
        changed = {**bucket, key: value}
        return self._make((*self._row[:index], changed, *self._row[index + 1 :]), self._count + len(changed) - len(bucket))

    def without(self, key: str) -> Map[V]:
        """This map without ``key``; the same map when it was not there."""
        index = _bucket(key)
        bucket = self._row[index]
        if key not in bucket:
            return self
        changed = {k: v for k, v in bucket.items() if k != key}
        return self._make((*self._row[:index], changed, *self._row[index + 1 :]), self._count - 1)

    def update(self, items: Iterable[tuple[str, V]]) -> Map[V]:
        """Many keys at once: each bucket that is touched is copied once."""
        touched: dict[int, dict[str, V]] = {}
        for key, value in items:
            index = _bucket(key)
            if index not in touched:
                touched[index] = dict(self._row[index])
            touched[index][key] = value
        if not touched:
            return self
        count = self._count + sum(len(bucket) - len(self._row[index]) for index, bucket in touched.items())
        return self._make(tuple(touched.get(index, bucket) for index, bucket in enumerate(self._row)), count)

    def __repr__(self) -> str:
        return f"Map({dict(self)!r})"
