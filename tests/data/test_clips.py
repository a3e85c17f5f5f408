"""Every way of drawing frames keeps its own promise, on videos with gaps."""

import numpy as np
import pytest

from lib.data.samples.clips import draw_triplet, is_eligible


def draws(mode: str, max_gap: int, visible: np.ndarray, count: int = 400):
    rng = np.random.default_rng(0)
    found = [draw_triplet(visible, rng, mode, max_gap) for _ in range(count)]
    kept = [triplet for triplet in found if triplet is not None]
    assert len(kept) > count / 4
    return kept


@pytest.fixture
def visible() -> np.ndarray:
    mask = np.random.default_rng(3).random(600) < 0.6
    mask[200:260] = False
    return mask


@pytest.mark.parametrize("mode", ["trident", "ordered", "causal"])
def test_only_visible_frames_are_drawn(mode, visible):
    for triplet in draws(mode, 200, visible):
        assert all(visible[frame] for frame in triplet)
        assert triplet.search not in (triplet.template, triplet.online_template)


def test_trident_puts_the_online_template_near_the_search_frame_on_the_templates_side(visible):
    triplets = draws("trident", 40, visible)
    for triplet in triplets:
        offset = triplet.online_template - triplet.search
        assert 0 < abs(offset) <= 40
        assert (offset < 0) == (triplet.template < triplet.search)
    assert any(abs(triplet.template - triplet.search) > 300 for triplet in triplets)


def test_ordered_keeps_the_online_template_in_the_middle_in_both_directions(visible):
    triplets = draws("ordered", 200, visible)
    for triplet in triplets:
        assert sorted(triplet)[1] == triplet.online_template
    forward = sum(triplet.template < triplet.search for triplet in triplets)
    assert 0.4 < forward / len(triplets) < 0.6


def test_causal_looks_back_for_the_online_template_and_ahead_for_the_search_frame(visible):
    for triplet in draws("causal", 50, visible):
        assert triplet.template - 50 <= triplet.online_template < triplet.template
        assert triplet.template < triplet.search <= triplet.template + 50


def test_a_video_without_enough_visible_frames_gives_none():
    assert draw_triplet(np.array([True, False, True]), np.random.default_rng(0), "ordered", 10) is None


def test_every_frame_within_the_gap_is_drawn_and_none_beyond(visible):
    candidates = np.flatnonzero(visible)
    offsets = {t.online_template - t.search for t in draws("trident", 3, visible, 4000)}
    assert offsets == {-3, -2, -1, 1, 2, 3}
    online = {t.template - t.online_template for t in draws("causal", 3, visible, 4000)}
    search = {t.search - t.template for t in draws("causal", 3, visible, 4000)}
    assert online == search == {1, 2, 3}
    assert {t.template for t in draws("trident", 200, visible, 12000)} == set(candidates.tolist())


@pytest.mark.parametrize(("frames", "seen", "eligible"), [(20, 7, True), (19, 19, False), (100, 6, False)])
def test_eligible_means_twenty_frames_and_more_than_six_visible(frames, seen, eligible):
    visible = np.zeros(frames, dtype=bool)
    visible[:seen] = True
    assert is_eligible(visible) is eligible
