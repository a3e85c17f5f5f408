"""How a step is split, and what is said when it is not the one that the learning rates were set for."""

import dataclasses

import pytest

from lib.config.load import load
from lib.data.samples.mixture import VALIDATION_EPOCH, sample_id
from lib.train.loading import advice, learning_rate_scale, plan_batching, validation_share

PAPER = load("mmg_vitb").train  # 20 a pass, learning rates for 80


def test_the_paper_on_four_gpus_needs_no_advice():
    batching = plan_batching(PAPER, 4)
    assert batching == (20, 1, 4) and batching.total == 80
    assert advice(PAPER, batching) is None


def test_one_gpu_reaches_the_same_step_in_four_passes():
    train = dataclasses.replace(PAPER, accumulate_to=80)
    batching = plan_batching(train, 1)
    assert batching == (20, 4, 1) and advice(train, batching) is None


def test_passes_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match=r"accumulate_to: 80 is no multiple of the 60 samples that 3 x .*20 make"):
        plan_batching(dataclasses.replace(PAPER, accumulate_to=80), 3)


def test_another_total_names_both_cures():
    said = advice(PAPER, plan_batching(PAPER, 1))
    assert said is not None
    assert "1 x 20 samples make 20 a step" in said and "total_batch: 80" in said
    assert "--set train.accumulate_to=80" in said and "--set train.scale_lr=true" in said


def test_the_linear_rule_is_followed_when_asked():
    assert learning_rate_scale(PAPER, 20) == 1
    train = dataclasses.replace(PAPER, scale_lr=True)
    assert learning_rate_scale(train, 20) == 0.25
    said = advice(train, plan_batching(train, 1))
    assert said is not None and "multiplies them by 0.25" in said


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
@pytest.mark.parametrize("num_samples", [1, 6, 7, 20])
def test_the_shares_of_a_validation_are_the_whole(processes, num_samples):
    whole = validation_share(num_samples, 3, 0, 1)
    shares = [validation_share(num_samples, 3, rank, processes) for rank in range(processes)]
    assert len({len(share) for share in shares}) == 1  # all processes take part in every agreement
    counted = sorted(group for share in shares for group in share if not group.repeated)
    assert counted == whole
    ids = [index for group in whole for index in group.ids]
    assert ids == [sample_id(VALIDATION_EPOCH, index) for index in range(num_samples)]
    assert all(group.ids for share in shares for group in share)
