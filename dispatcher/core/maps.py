"""A small persistent map: setting a key gives a new map and leaves the old one as it was.

Two levels: a row of buckets, each a dict that nobody changes once it is in a row. A change copies one bucket and the row, never
the whole; the row grows with the map. Order depends on keys and history alone, so that a simulation repeats exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

R = TypeVar("R")
V = TypeVar("V")

# (rows up to this many keys, buckets in the row): primes, over which the last letters of uuids and serial numbers spread evenly
_ROWS = ((24, 1), (600, 23), (4000, 67), (1 << 62, 251))


_MOST_IN = {buckets: most for most, buckets in _ROWS}


def _buckets_for(count: int) -> int:
    return next(buckets for most, buckets in _ROWS if count <= most)


@lru_cache(maxsize=1 << 16)  # the same few thousand keys are looked up over and over
def _hash(key: str) -> int:
    return int.from_bytes(key[-8:].encode("utf-8", "surrogatepass"), "little")


def _make_of(values: Collection[V], make: Callable[..., R], context: object) -> R:
    return make(values) if context is None else make(values, context)


class _Bucket(dict[str, V]):
    """A part of a map. ``made``: what pure functions made of it, which dies with it."""

    __slots__ = ("made",)
    made: dict[Any, tuple[object, Any]]


class Map(Mapping[str, V]):
    """An immutable mapping from text to values."""

    __slots__ = ("_all", "_count", "_made", "_row")

    def __init__(self, items: Iterable[tuple[str, V]] = ()) -> None:
        self._row: tuple[_Bucket[V], ...] = (_Bucket(),)
        self._count = 0
        self._all: list[V] | None = None
        self._made: dict[Any, Any] = {}
        made = self.update(items)
        self._row, self._count = made._row, made._count

    @classmethod
    def _make(cls, row: tuple[_Bucket[V], ...], count: int) -> Map[V]:
        made = cls.__new__(cls)
        made._row, made._count, made._all, made._made = row, count, None, {}
        return made if count <= _MOST_IN[len(row)] else made._widened()

    def _widened(self) -> Map[V]:
        """The same with a longer row. A row never shrinks: a map that was large once will be so again."""
        wide: tuple[_Bucket[V], ...] = tuple(_Bucket() for _ in range(_buckets_for(self._count)))
        for key, value in self.items():
            wide[_hash(key) % len(wide)][key] = value
        return self._make(wide, self._count)

    def _index(self, key: str) -> int:
        return _hash(key) % len(self._row) if len(self._row) > 1 else 0

    def __getitem__(self, key: str) -> V:
        return self._row[self._index(key)][key]

    def get(self, key: str, default: V | None = None) -> V | None:  # type: ignore[override]
        return self._row[self._index(key)].get(key, default)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in self._row[self._index(key)]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        for bucket in self._row:
            yield from bucket

    def all(self) -> Sequence[V]:
        """Every value: made once for each map, since a map never changes."""
        if self._all is None:
            self._all = [value for bucket in self._row for value in bucket.values()]
        return self._all

    def once(self, make: Callable[..., R], *arguments: object) -> R:
        """What a pure function makes of all values and the arguments: made once for each map as well."""
        known = (make, *arguments)
        if known not in self._made:
            self._made[known] = make(self.all(), *arguments)
        made: R = self._made[known]
        return made

    def parts(self, make: Callable[..., R], context: object = None) -> list[R]:
        """What a pure function makes of the values of each part, and of a context if one is given. It is kept with the part: maps
        that share a part share it, and a change makes anew what it touches. Another context takes the place of the last one."""
        found = []
        for bucket in self._row:
            try:
                kept = bucket.made.get(make)
            except AttributeError:  # nothing was made of it yet
                bucket.made, kept = {}, None
            if kept is None or kept[0] is not context:
                kept = bucket.made[make] = (context, _make_of(bucket.values(), make, context))
            found.append(kept[1])
        return found

    def set(self, key: str, value: V) -> Map[V]:
        """This map with ``key`` holding ``value``; the same map when it does already."""
        index = self._index(key)
        bucket = self._row[index]
        if key in bucket and bucket[key] is value:
            return self
        changed = _Bucket(bucket)
        changed[key] = value
        count = self._count + len(changed) - len(bucket)
        return self._make((*self._row[:index], changed, *self._row[index + 1 :]), count)

    def without(self, key: str) -> Map[V]:
        """This map without ``key``; the same map when it was not there."""
        index = self._index(key)
        bucket = self._row[index]
        if key not in bucket:
            return self
        changed = _Bucket(bucket)
        del changed[key]
        return self._make((*self._row[:index], changed, *self._row[index + 1 :]), self._count - 1)

    def update(self, items: Iterable[tuple[str, V]]) -> Map[V]:
        """Many keys at once: each bucket that is touched is copied once."""
        touched: dict[int, _Bucket[V]] = {}
        for key, value in items:
            index = self._index(key)
            if index not in touched:
                touched[index] = _Bucket(self._row[index])
            touched[index][key] = value
        if not touched:
            return self
        row, count = list(self._row), self._count
        for index, bucket in touched.items():
            count += len(bucket) - len(row[index])
            row[index] = bucket
        return self._make(tuple(row), count)

    def changed_since(self, before: Map[V]) -> Iterator[str]:
        """The keys that hold another value than they did in an earlier map: what the two share is not looked at."""
        if len(self._row) != len(before._row):
            yield from (key for key in {**before, **self} if before.get(key) is not self.get(key))
            return
        for old, new in zip(before._row, self._row, strict=True):
            if old is not new:
                yield from (key for key in {**old, **new} if old.get(key) is not new.get(key))

    def __repr__(self) -> str:
        return f"Map({dict(self)!r})"
