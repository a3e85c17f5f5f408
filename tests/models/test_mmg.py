"""The whole network: what training and tracking share, what is left after training, and how large it is."""

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import normalize, to_tensor

from lib.models.decoder import MaskedMutualGuidance
from lib.models.encoder import JointEncoder
from lib.models.head import PyramidCornerHead
from lib.models.mmg import MMG, count_parameters
from lib.models.score import ScoreModule


def tiny(online_template: bool = True, score: bool = True) -> MMG:
    torch.manual_seed(0)
    encoder = JointEncoder("vit_tiny_patch16_224", template_size=32, search_size=64, online_template=online_template,
                           dim=32, depth=2, num_heads=2, drop_path=0.2)  # fmt: skip
    decoder = MaskedMutualGuidance(encoder_dim=32, template_grid=2, search_grid=4, patch_size=16, dim=16, self_depth=1,
                                   guided_depth=1, num_heads=2, search_to_online=online_template,
                                   online_template=online_template)  # fmt: skip
    scoring = ScoreModule(32, depth=1, num_heads=2) if score else None
    return MMG(encoder, PyramidCornerHead(32, 4, 16), decoder, scoring).eval()


def images(batch: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    templates = torch.randint(0, 256, (2, batch, 3, 32, 32), dtype=torch.uint8, generator=generator)
    search = torch.randint(0, 256, (batch, 3, 64, 64), dtype=torch.uint8, generator=generator)
    return templates[0], search, templates[1]


@pytest.mark.parametrize("online_template", [True, False])
def test_boxes_are_identical_with_and_without_decoders(online_template):
    model = tiny(online_template)
    template, search, online = images()
    inputs = (template, search, online) if online_template else (template, search)
    tracked = model.track(*inputs)
    after_training = model.without_decoder()
    assert after_training.decoder is None and not after_training.training
    assert not any(name.startswith("decoder.") for name in after_training.state_dict())
    trained = model(*inputs, generator=torch.Generator().manual_seed(0), predict_score=True)
    without = after_training.track(*inputs)
    assert trained.reconstruction is not None
    assert torch.equal(tracked.crop_boxes_xyxy, without.crop_boxes_xyxy)
    assert torch.equal(tracked.crop_boxes_xyxy, trained.crop_boxes_xyxy)
    assert tracked.scores is not None and without.scores is not None
    assert torch.equal(tracked.scores, without.scores)
    torch.testing.assert_close(tracked.scores, trained.score_logits.sigmoid())


def test_decoders_do_not_run_when_tracking():
    model = tiny()
    assert model.decoder is not None
    calls: list[object] = []
    model.decoder.register_forward_hook(lambda *call: calls.append(call))
    model.track(*images())
    assert not calls
    model(*images())
    assert len(calls) == 1


def test_parts_that_are_absent_give_none():
    output = tiny(score=False).without_decoder()(*images())
    assert output.reconstruction is None and output.score_logits is None
    assert tiny(score=False).track(*images()).scores is None
    with pytest.raises(AssertionError, match="score module"):
        tiny(score=False)(*images(), predict_score=True)


def test_stage_one_trains_everything_but_the_score_module():
    model = tiny().train()
    model.encoder.blocks.eval()  # No stochastic depth: one of two blocks may be dropped for the whole batch.
    output = model(*images())
    losses = [tensor.square().sum() for tensor in output.reconstruction[:4]]
    (sum(losses) + output.crop_boxes_xyxy.square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("score."), name
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name


def test_images_are_normalised_as_imagenet_models_expect():
    model = tiny()
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    expected = normalize(to_tensor(picture), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    image = torch.from_numpy(picture).permute(2, 0, 1).unsqueeze(0)
    torch.testing.assert_close(model.normalize(image)[0], expected)
    with pytest.raises(AssertionError, match="uint8"):
        model.normalize(image.float())


def test_every_level_survives_normalising_and_back():
    model = tiny()
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(model.denormalize(model.normalize(levels)), levels)
    assert model.denormalize(torch.full((1, 3, 1, 1), 1e3)).unique().tolist() == [255]


def test_weights_are_named_by_part_and_constants_are_not_stored():
    names = tiny().state_dict().keys()
    assert {name.split(".")[0] for name in names} == {"encoder", "head", "decoder", "score"}
    assert not any(name.endswith("_position") and name.startswith("decoder.") for name in names)


def test_boxes_are_float32_under_autocast_and_close_to_full_precision():
    model = tiny()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lowered = model.track(*images())
    assert lowered.crop_boxes_xyxy.dtype == torch.float32
    torch.testing.assert_close(lowered.crop_boxes_xyxy, model.track(*images()).crop_boxes_xyxy, rtol=0, atol=0.01)


def test_the_papers_model_has_the_stated_size():
    with torch.device("meta"):
        model = MMG(
            JointEncoder("vit_base_patch16_224", template_size=128, search_size=256, online_template=True),
            PyramidCornerHead(768, 16, 384),
            MaskedMutualGuidance(encoder_dim=768, template_grid=8, search_grid=16, patch_size=16),
            ScoreModule(768, 2, num_heads=12),
        )
    counts = count_parameters(model)
    assert sum(counts.values()) == sum(parameter.numel() for parameter in model.parameters())
    # MAE's ViT-B without class token and position table, and the two tables of 64 and 256 tokens.
    assert counts["encoder"] == 85_646_592 + (64 + 256) * 768
    assert counts["head"] == pytest.approx(11.5e6, rel=0.01)
    assert counts["self_decoder"] == pytest.approx(25.3e6, rel=0.02)
    assert counts["guided_decoder"] == pytest.approx(25.3e6, rel=0.02)
    assert counts["projection"] == 768 * 512 + 512 + 512
    without = count_parameters(model.without_decoder())
    assert without == {**counts, "self_decoder": 0, "guided_decoder": 0, "projection": 0}
