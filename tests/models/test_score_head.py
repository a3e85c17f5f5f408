"""The score modules: one logit from a class token that has seen template and search region, or from a predicted box."""

import torch

from lib.models.score import BoxScore, ScoreModule, cover


def tiny() -> ScoreModule:
    torch.manual_seed(0)
    return ScoreModule(16, depth=2, num_heads=2)


def test_the_logit_depends_on_both_images_and_on_every_parameter():
    score = tiny()
    template = torch.randn(3, 4, 16, requires_grad=True)
    search = torch.randn(3, 9, 16, requires_grad=True)
    logits = score(template, search)
    assert logits.shape == (3,)
    logits.square().sum().backward()
    for name, parameter in score.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    for tokens in (template, search):
        assert tokens.grad is not None and (tokens.grad.abs().amax(dim=(1, 2)) > 0).all()


def test_the_class_token_is_what_is_read():
    score = tiny()
    score.blocks = torch.nn.Sequential()  # Without blocks the class token learns nothing of the images.
    logits = score(torch.randn(3, 4, 16), torch.randn(3, 9, 16))
    torch.testing.assert_close(logits, score.mlp(score.norm(score.class_token))[0, 0].expand(3))


def test_it_can_learn_to_tell_samples_apart():
    score = tiny()
    generator = torch.Generator().manual_seed(1)
    template = torch.randn(16, 3, 16, generator=generator)
    search = torch.randn(16, 6, 16, generator=generator)
    shown = torch.arange(16) % 2 == 0
    optimizer = torch.optim.AdamW(score.parameters(), lr=3e-3)
    for _ in range(60):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(score(template, search), shown.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(score(template, search) > 0, shown)


def test_patches_count_by_the_share_that_a_box_covers():
    shares = cover(torch.tensor([[0.25, 0.0, 1.0, 0.75], [0.6, 0.6, 0.4, 0.4], [-1.0, -1.0, 2.0, 2.0]]), grid=2)
    assert shares.shape == (3, 4, 1)
    assert shares[..., 0].tolist() == [[0.5, 1.0, 0.25, 0.5], [0.0] * 4, [1.0] * 4]


def test_a_box_score_rates_the_box_and_not_only_the_region():
    torch.manual_seed(0)
    score = BoxScore(16, template_grid=4, template_factor=2.0)
    assert score.inside_template[0, :, 0].reshape(4, 4).tolist() == [[0] * 4, [0, 1, 1, 0], [0, 1, 1, 0], [0] * 4]
    target, other = torch.randn(2, 16)
    template = target.expand(1, 16, 16)
    search = torch.cat((target.expand(8, 16), other.expand(8, 16))).unsqueeze(0)  # upper half, lower half
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 0.5]], [[0.0, 0.5, 1.0, 1.0]]])
    optimizer = torch.optim.AdamW(score.parameters(), lr=3e-3)
    for _ in range(30):
        logits = torch.cat([score(template, search, box) for box in boxes])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor([1.0, 0.0]))
        optimizer.zero_grad()
        loss.backward()
        assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in score.parameters())
        optimizer.step()
    assert [score(template, search, box).item() > 0 for box in boxes] == [True, False]
    nothing = score(template, search, torch.tensor([[0.5, 0.5, 0.5, 0.5]]))
    assert torch.isfinite(nothing).all()
