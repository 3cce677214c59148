"""The image of an instance: the site's, or what its containers ask for and may have."""

from __future__ import annotations

import pytest

from dispatcher.core import images, lifecycle, reconcile, schedule, sizing
from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, Phase
from dispatcher.core.transitions import legal
from dispatcher.core.transitions.cloud import own_tags
from tests.core.build import C1, C2, NOW, after, container, instance, listed, settings, state, wants

ALLOWED = settings(image_id="site", allowed_images=("gpu-*", "test-[0-9]"))

CHOICES = [
    # (what it asks for, image, a word of the problem, a word of the warning)
    ("", "", "", ""),
    ("site", "", "", ""),  # the site's own goes by the empty name
    ("gpu-12", "gpu-12", "", ""),
    ("test-7", "test-7", "", ""),
    ("test-77", "", "AllowedImages", ""),
    ("GPU-12", "", "AllowedImages", ""),
    ("gpu-" + "x" * 260, "", "longer than", ""),
]


@pytest.mark.parametrize(("wanted", "image", "problem", "warning"), CHOICES)
def test_what_a_container_may_have(wanted, image, problem, warning):
    """A pattern of the list permits it; the site's own image needs none."""
    chosen = images.choose(wanted, ALLOWED)
    assert chosen.image == image
    assert problem in chosen.problem
    assert bool(chosen.problem) is bool(problem)
    assert not chosen.warning


def test_without_a_list_the_wish_is_ignored_with_a_warning():
    """It runs on the site's image, and whoever reads the log knows."""
    fit = sizing.fit(wants(image_id="gpu-1"), settings())
    assert (fit.image, fit.types, fit.problem) == ("", ("t4",), "")
    assert "AllowedImages names no image" in fit.warning


def test_an_image_that_is_not_permitted_cancels_the_container_with_the_reason():
    """In one request, as one that fits no type."""
    before = state(container(requirements=wants(image_id="evil")), settings=ALLOWED)
    assert reconcile.plan(before, NOW) == [
        m.CancelContainer(uuid=C1, error="image_id 'evil' is not one that AllowedImages permits")
    ]


def test_the_instance_is_asked_for_with_the_image_and_keeps_it_in_a_tag():
    """The create carries it, the tag tells it after a restart; an instance of the site's image has no such tag."""
    before = state(container(requirements=wants(image_id="gpu-1")), settings=ALLOWED)
    asked = schedule.plan(before, NOW, lambda: ("n1", "s"))
    assert asked == [m.CreateInstance(name="n1", instance_type="t4", secret="s", image="gpu-1")]
    made = after(before, *asked).instances["n1"]
    assert own_tags(made, ALLOWED)["ArvadosImageID"] == "gpu-1"
    assert "ArvadosImageID" not in own_tags(instance(), ALLOWED)


def test_a_create_that_is_sent_again_names_the_same_image():
    """Its outcome was not known."""
    unknown = {"creating": False, "create_unknown": True, "create_changed_s": 900.0, "phase_since_s": 900.0}
    lost = instance("i1", Phase.CREATING, image="gpu-1", secret="s", **unknown)
    before = state(lost, settings=settings(image_id="site", allowed_images=("gpu-*",), create_is_idempotent=True))
    again = [action for action in lifecycle.plan(before, NOW) if isinstance(action, m.CreateInstance)]
    assert [action.image for action in again] == ["gpu-1"]


PAIRS = [("gpu-1", "gpu-1", True), ("gpu-1", "gpu-2", False), ("", "gpu-1", False), ("gpu-1", "", False), ("site", "", True)]


@pytest.mark.parametrize(("asked", "made_with", "shares"), PAIRS)
def test_containers_share_an_instance_only_when_their_images_agree(asked, made_with, shares):
    """The site's image agrees with instances that have no tag; planner and law say the same."""
    before = state(container(requirements=wants(image_id=asked)), instance(image=made_with), settings=ALLOWED)
    lock = m.LockContainer(uuid=C1, instance="i1")
    planned = schedule.plan(before, NOW, lambda: ("n1", "s"))
    assert (planned == [lock]) is shares
    assert (legal(before, lock, NOW) is None) is shares


def test_two_images_are_two_instances_and_equal_ones_are_one():
    """Four containers of two images: one instance for each image."""
    first, second = (container(uuid, requirements=wants(image_id=image)) for uuid, image in ((C1, "gpu-1"), (C2, "gpu-2")))
    drawn = iter([("n1", "s"), ("n2", "s")])
    planned = schedule.plan(state(first, second, settings=ALLOWED), NOW, lambda: next(drawn))
    assert [action.image for action in planned] == ["gpu-1", "gpu-2"]
    same = [container(uuid, requirements=wants(image_id="gpu-1")) for uuid in (C1, C2)]
    planned = schedule.plan(state(*same, settings=ALLOWED), NOW, lambda: ("n1", "s"))
    assert len(planned) == 1


def test_the_image_is_read_back_from_the_tag():
    """After a restart the instance takes containers of its image and no others."""
    tags = {"ArvadosInstanceType": "t4", "ArvadosInstanceSetID": "ours", "ArvadosImageID": "gpu-1"}
    before = state(container(requirements=wants(image_id="gpu-1"), state=ContainerState.LOCKED), settings=ALLOWED)
    seen = after(before, m.InstancesListed(began_s=NOW, instances=(listed("i1", tags=tags),)))
    assert seen.instances["i1"].image == "gpu-1"
