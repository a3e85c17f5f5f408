"""Fused and plain attention: one result, whichever kernel computes it."""

import torch

from lib.models.attention import CrossAttention, set_fused_attention
from lib.models.decoder import MaskedMutualGuidance
from lib.models.encoder import EncoderOutput, JointEncoder


def outputs(fused: bool) -> list[torch.Tensor]:
    torch.manual_seed(0)
    encoder = JointEncoder(
        "vit_tiny_patch16_224", template_size=32, search_size=64, online_template=True, dim=32, depth=2, num_heads=2
    )
    decoder = MaskedMutualGuidance(
        encoder_dim=32, template_grid=2, search_grid=4, patch_size=16, dim=32, self_depth=1, guided_depth=1, num_heads=2
    )
    model = torch.nn.ModuleList([encoder, decoder])
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)  # Attention far from uniform, so that a wrong scale would show.
    set_fused_attention(model, fused)
    template, online, search = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32), torch.randn(2, 3, 64, 64)
    encoded: EncoderOutput = encoder(template, search, online)
    output = decoder(encoded, search, online, torch.Generator().manual_seed(1))
    output.fine_search.square().mean().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return [encoded.search, output.fine_search, output.fine_online, *gradients]


def test_both_ways_give_the_same_results_and_gradients():
    for one, other in zip(outputs(fused=True), outputs(fused=False), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_the_choice_reaches_every_attention(monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("the fused kernel was called")

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", forbidden)
    outputs(fused=False)
    layer = CrossAttention(8, 2)
    set_fused_attention(layer, False)
    layer(torch.randn(1, 3, 8), torch.randn(1, 4, 8))
