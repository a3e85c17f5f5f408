"""Candidate elimination, against a plain one that drops tokens between attention and MLP, as the field's code does."""

import math

import pytest
import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block
from torch import Tensor

from lib.models.encoder import JointEncoder


def encoder(**changes) -> JointEncoder:
    torch.manual_seed(0)
    sizes = {"template_size": 64, "search_size": 128, "dim": 32, "depth": 4, "num_heads": 2}
    made = JointEncoder(**{"name": "vit_tiny_patch16_224", "online_template": False, **sizes, **changes}).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def plainly(model: JointEncoder, template: Tensor, search: Tensor) -> Tensor:
    """Return the search tokens of one pair, its eliminated tokens 0."""
    tokens = torch.cat((model.embed(template, "template"), model.embed(search, "search")), dim=1)[0]
    left, center = list(range(64)), 1 * 4 + 1  # of the 4 x 4 template
    for index, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        attention = block.attn
        assert isinstance(attention, Attention)
        query, key, value = attention.qkv(block.norm1(tokens)).unflatten(1, (3, 2, 16)).permute(1, 2, 0, 3)
        weights = (query @ key.transpose(1, 2) / 4).softmax(dim=2)
        tokens = tokens + attention.proj((weights @ value).transpose(0, 1).flatten(1))
        if index in model.eliminate_at:
            seen = weights[:, center, 16:].mean(dim=0).tolist()
            order = sorted(range(len(left)), key=lambda place: -seen[place])[: math.ceil(model.keep_ratio * len(left))]
            tokens = torch.cat((tokens[:16], tokens[[16 + place for place in order]]))
            left = [left[place] for place in order]
        tokens = tokens + block.mlp(block.norm2(tokens))
    search_tokens = torch.zeros(64, 32)
    search_tokens[left] = model.norm(tokens)[16:]
    return search_tokens


def test_tokens_are_dropped_and_put_back_as_the_field_does():
    model = encoder(eliminate_at=(0, 2), keep_ratio=0.7)
    template, search = torch.randn(2, 3, 64, 64), torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        encoded = model(template, search)
        for index in range(2):
            expected = plainly(model, template[index : index + 1], search[index : index + 1])
            torch.testing.assert_close(encoded.search[index], expected, rtol=0, atol=1e-5)
    assert ((encoded.search == 0).all(dim=2).sum(dim=1) == 64 - math.ceil(0.7 * math.ceil(0.7 * 64))).all()


def test_all_tokens_stay_in_training_and_where_the_ratio_is_1():
    template, search = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        plain = encoder()(template, search).search
        torch.testing.assert_close(encoder(eliminate_at=(1,)).train()(template, search).search, plain)
        kept = encoder(eliminate_at=(1,), keep_ratio=1.0)(template, search).search
    torch.testing.assert_close(kept, plain, rtol=0, atol=1e-5)


def test_blocks_without_another_behind_them_are_refused():
    for index in (-1, 3, 9):
        with pytest.raises(ValueError, match="0 to 2"):
            encoder(eliminate_at=(index,))
