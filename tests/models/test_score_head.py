"""The score module: one logit from a class token that has seen template and search region."""

import torch

from lib.models.score import ScoreModule


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


def test_samples_of_a_batch_are_scored_apart():
    score = tiny().eval()
    template, search = torch.randn(3, 4, 16), torch.randn(3, 9, 16)
    one_by_one = torch.cat([score(template[i : i + 1], search[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(score(template, search), one_by_one)


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
