"""The ready models in PyTorch. Input ``(batch, channels, height, width)`` or ``(batch, features)``; logits out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from armillary.training.models import sizes


class Convolutional(nn.Module):
    """Blocks of convolution and pooling, then two dense layers; over a table's columns in one dimension."""

    def __init__(self, kind: str, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.over_table = kind == "table"
        before = 1 if self.over_table else shape[2]
        side = shape[0] if self.over_table else min(shape[:2])
        layers: list[nn.Module] = []
        for channels in sizes.convolution_channels(side):
            layers += self._block(before, channels, pools=side > 1)
            before = channels
        self.convolutions = nn.Sequential(*layers)
        example = torch.zeros(1, *((1, shape[0]) if self.over_table else (shape[2], *shape[:2])))
        features = self.convolutions(example).numel()
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(features, sizes.HIDDEN), nn.ReLU(), nn.Linear(sizes.HIDDEN, classes)
        )

    def _block(self, before: int, channels: int, pools: bool) -> list[nn.Module]:
        """Return convolution, ReLU and, unless there is a single column, pooling."""
        if self.over_table:
            block: list[nn.Module] = [nn.Conv1d(before, channels, 3, padding=1), nn.ReLU()]
            return [*block, nn.MaxPool1d(2)] if pools else block
        convolution = nn.Conv2d(before, channels, sizes.IMAGE_KERNEL, padding="same")
        return [convolution, nn.GroupNorm(sizes.NORM_GROUPS, channels), nn.ReLU(), nn.MaxPool2d(2)]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(batch, classes)``."""
        logits: Tensor = self.head(self.convolutions(x.unsqueeze(1) if self.over_table else x))
        return logits


class Recurrent(nn.Module):
    """An LSTM; its last output is classified."""

    def __init__(self, kind: str, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.over_table = kind == "table"
        step_width = 1 if self.over_table else shape[1] * shape[2]
        self.lstm = nn.LSTM(step_width, sizes.RECURRENT_UNITS, batch_first=True)
        self.head = nn.Linear(sizes.RECURRENT_UNITS, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(batch, classes)``."""
        steps = x.unsqueeze(-1) if self.over_table else x.permute(0, 2, 3, 1).flatten(2)
        outputs, _ = self.lstm(steps)
        logits: Tensor = self.head(outputs[:, -1])
        return logits


class EncoderLayer(nn.Module):
    """Self-attention and a dense layer, each with its residual, normalised first (Xiong et al., 2020)."""

    def __init__(self) -> None:
        super().__init__()
        width = sizes.TOKEN_WIDTH
        self.norm_attention, self.norm_dense = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens of the same shape ``(batch, tokens, width)``."""
        tokens = tokens + self.attention(self.norm_attention(tokens))
        return tokens + self.dense(self.norm_dense(tokens))

    def attention(self, tokens: Tensor) -> Tensor:
        """Return what each token takes from the others, ``(batch, tokens, width)``."""
        heads = self.queries_keys_values(tokens).unflatten(-1, (3, sizes.HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(heads[0], heads[1], heads[2])
        attended: Tensor = self.mix(mixed.transpose(1, 2).flatten(2))
        return attended


class Transformer(nn.Module):
    """Patches of an image or columns of a table as tokens, encoded, averaged and classified."""

    def __init__(self, kind: str, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.over_table = kind == "table"
        if self.over_table:
            count = shape[0]
            self.scale = nn.Parameter(torch.randn(count, sizes.TOKEN_WIDTH) * 0.1)
        else:
            side = sizes.patch_size(*shape[:2])
            count = -(-shape[0] // side) * -(-shape[1] // side)
            self.padding = (0, -shape[1] % side, 0, -shape[0] % side)
            self.patches = nn.Conv2d(shape[2], sizes.TOKEN_WIDTH, side, stride=side)
        self.position = nn.Parameter(torch.randn(count, sizes.TOKEN_WIDTH) * 0.02)
        self.encoder = nn.Sequential(*(EncoderLayer() for _ in range(sizes.ENCODER_LAYERS)))
        self.norm = nn.LayerNorm(sizes.TOKEN_WIDTH)
        self.head = nn.Linear(sizes.TOKEN_WIDTH, classes)

    def tokens(self, x: Tensor) -> Tensor:
        """Return one vector for each patch or column, ``(batch, tokens, width)``."""
        if self.over_table:
            return x.unsqueeze(-1) * self.scale
        patches: Tensor = self.patches(F.pad(x, self.padding))
        return patches.flatten(2).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(batch, classes)``."""
        logits: Tensor = self.head(self.norm(self.encoder(self.tokens(x) + self.position)).mean(dim=1))
        return logits


def _seeded(cls: type[nn.Module], kind: str, shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(kind, shape, classes)


def cnn(kind: str, shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    """Return `Convolutional` for ``shape`` ``(height, width, channels)`` or ``(features,)``."""
    return _seeded(Convolutional, kind, shape, classes, seed)


def rnn(kind: str, shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    """Return `Recurrent` for ``shape`` ``(height, width, channels)`` or ``(features,)``."""
    return _seeded(Recurrent, kind, shape, classes, seed)


def transformer(kind: str, shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    """Return `Transformer` for ``shape`` ``(height, width, channels)`` or ``(features,)``."""
    return _seeded(Transformer, kind, shape, classes, seed)
