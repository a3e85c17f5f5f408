"""Counts of a model: what is known of ViT-Base and of the parts that track."""

from lib.config.load import load
from lib.profiling.model import describe_size, size_model


def test_the_paper_s_model_has_the_size_that_it_must():
    size = size_model(load("mmg_vitb"))
    # timm's ViT-Base without class token and classifier has 85,797,120 weights with 196 positions; here 64 + 256.
    patches_and_blocks = 85_797_120 - 768 - 197 * 768 + 768
    assert abs(size.parameters["encoder"] - (patches_and_blocks + (64 + 256) * 768)) <= 768
    assert size.tracking_parameters == sum(size.parameters[part] for part in ("encoder", "head", "score"))
    # 12 blocks over 384 tokens, by hand: weights, attention, and patch embedding.
    encoder = 384 * (12 * (12 * 768**2 + 2 * 384 * 768) + 3 * 16 * 16 * 768)
    assert size.frame_multiply_adds_by_part["encoder"] == encoder
    assert list(size.frame_multiply_adds_by_part) == ["encoder", "head", "score"]
    assert encoder < size.frame_multiply_adds < 1.3 * encoder
    assert size.sample_multiply_adds > 3 * size.frame_multiply_adds * 0.9
    assert "when tracking" in describe_size(size)


def test_a_score_module_that_does_not_decide_over_updates_does_not_track():
    size = size_model(load("mmg_tiny"))
    assert size.parameters["score"] > 0
    assert size.tracking_parameters == size.parameters["encoder"] + size.parameters["head"]
    assert list(size.frame_multiply_adds_by_part) == ["encoder", "head"]
