"""The persistent map against a plain dict: the same answers, and every old map stays as it was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from dispatcher.core.maps import Map

KEYS = st.one_of(st.sampled_from([f"key{number}" for number in range(40)]), st.text(max_size=12))
ACTS = st.lists(st.tuples(st.sampled_from(("set", "drop", "update")), KEYS, st.integers()), max_size=60)


@given(ACTS)
def test_it_is_a_dict_that_never_changes(acts):
    """Whatever is done to it, it holds what a dict would hold, and so does each map before."""
    held, truth, past = Map(), {}, []
    for act, key, value in acts:
        past.append((held, dict(truth)))
        if act == "drop":
            held, truth = held.without(key), {k: v for k, v in truth.items() if k != key}
        else:
            held = held.set(key, value) if act == "set" else held.update([(key, value), ("key1", 1)])
            truth = {**truth, key: value} if act == "set" else {**truth, key: value, "key1": 1}
    for one, wanted in [*past, (held, truth)]:
        assert dict(one.items()) == wanted
        assert (len(one), sorted(one), sorted(one.all())) == (len(wanted), sorted(wanted), sorted(wanted.values()))
        assert all(key in one and one[key] == one.get(key) for key in wanted)


@given(st.integers(0, 3000), st.integers(0, 3000))
@budget(max_examples=20, deadline=None)
def test_it_grows_and_shrinks_and_tells_what_changed(size, changed):
    """Whatever the sizes of its row: the keys that differ are exactly the changed ones."""
    first = Map((f"zzzzz-{number:06d}", number) for number in range(size))
    second = first.update((f"zzzzz-{number:06d}", -1 - number) for number in range(changed))
    assert len(second) == max(size, changed)
    assert sorted(second.changed_since(first)) == [f"zzzzz-{number:06d}" for number in range(changed)]
    assert list(first.changed_since(first)) == []


def test_setting_what_it_holds_already_is_no_change():
    """The same object comes back, so that nobody is woken for nothing."""
    value = object()
    held = Map([("a", value)])
    assert held.set("a", value) is held
    assert held.without("b") is held
    assert held.update([]) is held


def test_its_order_depends_on_nothing_but_its_history():
    """Two processes that do the same see the same order: a simulation repeats exactly."""
    keys = [f"zzzzz-dz642-{number:015d}" for number in range(700)]
    assert list(Map((key, 0) for key in keys)) == list(Map((key, 1) for key in keys))
