"""The ready models in Keras 3. Input ``(batch, height, width, channels)`` or ``(batch, features)``; logits out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import layers

from armillary.training.models import sizes


@keras.saving.register_keras_serializable(package="armillary")
class Position(layers.Layer):
    """Adds a learnt vector to each token."""

    def build(self, shape: Any) -> None:
        """Make one vector of the tokens' width for each of them."""
        self.position = self.add_weight(
            shape=shape[1:], initializer=keras.initializers.RandomNormal(stddev=0.02), name="position"
        )

    def call(self, tokens: Any) -> Any:
        """Return tokens of the same shape ``(batch, tokens, width)``."""
        return tokens + self.position


@keras.saving.register_keras_serializable(package="armillary")
class ColumnTokens(layers.Layer):
    """Turns a table's columns ``(batch, features)`` into tokens ``(batch, features, width)``."""

    def build(self, shape: Any) -> None:
        """Make one vector for each column."""
        self.scale = self.add_weight(
            shape=(shape[1], sizes.TOKEN_WIDTH), initializer=keras.initializers.RandomNormal(stddev=0.1), name="scale"
        )

    def call(self, x: Any) -> Any:
        """Return each value times its column's vector."""
        return keras.ops.expand_dims(x, -1) * self.scale


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed Keras' initialisers; a person's own random numbers in NumPy and Python go on as if nothing had been."""
    python, numpy = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _image_block(x: Any, channels: int) -> Any:
    x = layers.Conv2D(channels, sizes.IMAGE_KERNEL, padding="same")(x)
    x = layers.ReLU()(layers.GroupNormalization(sizes.NORM_GROUPS, epsilon=1e-5)(x))
    return layers.MaxPool2D(2)(x)


def _column_block(x: Any, channels: int, pools: bool) -> Any:
    x = layers.Conv1D(channels, 3, padding="same", activation="relu")(x)
    return layers.MaxPool1D(2)(x) if pools else x


def _as_in_torch() -> Any:
    """Return PyTorch's initial weights, uniform within ±1/sqrt(fan in), so that the twins learn alike."""
    return keras.initializers.VarianceScaling(scale=1 / 3, mode="fan_in", distribution="uniform")


def cnn(kind: str, shape: tuple[int, ...], classes: int, seed: int) -> keras.Model:
    """Return blocks of convolution, group normalisation and pooling, then two dense layers."""
    with _seeded(seed):
        x = inputs = keras.Input(shape, name="input")
        table = kind == "table"
        side = shape[0] if table else min(shape[:2])
        x = layers.Reshape((*shape, 1))(x) if table else x
        for channels in sizes.convolution_channels(side):
            x = _column_block(x, channels, pools=side > 1) if table else _image_block(x, channels)
        x = layers.Dense(sizes.HIDDEN, activation="relu", kernel_initializer=_as_in_torch())(layers.Flatten()(x))
        logits = layers.Dense(classes, name="logits", kernel_initializer=_as_in_torch())(x)
        return keras.Model(inputs, logits, name="cnn")


def rnn(kind: str, shape: tuple[int, ...], classes: int, seed: int) -> keras.Model:
    """Return an LSTM whose last output is classified."""
    with _seeded(seed):
        inputs = keras.Input(shape, name="input")
        steps = (shape[0], 1) if kind == "table" else (shape[0], shape[1] * shape[2])
        x = layers.LSTM(sizes.RECURRENT_UNITS)(layers.Reshape(steps)(inputs))
        return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="rnn")


def _encoder_layer(tokens: Any) -> Any:
    normal = layers.LayerNormalization(epsilon=1e-5)(tokens)
    attended = layers.MultiHeadAttention(sizes.HEADS, sizes.TOKEN_WIDTH // sizes.HEADS)(normal, normal)
    tokens = layers.Add()([tokens, attended])
    dense = layers.Dense(2 * sizes.TOKEN_WIDTH, activation="gelu")(layers.LayerNormalization(epsilon=1e-5)(tokens))
    return layers.Add()([tokens, layers.Dense(sizes.TOKEN_WIDTH)(dense)])


def _patch_tokens(images: Any, shape: tuple[int, ...]) -> Any:
    side = sizes.patch_size(*shape[:2])
    padded = layers.ZeroPadding2D(((0, -shape[0] % side), (0, -shape[1] % side)))(images)
    patches = layers.Conv2D(sizes.TOKEN_WIDTH, side, strides=side)(padded)
    return layers.Reshape((-1, sizes.TOKEN_WIDTH))(patches)


def transformer(kind: str, shape: tuple[int, ...], classes: int, seed: int) -> keras.Model:
    """Return an encoder over patches or columns whose average is classified."""
    with _seeded(seed):
        inputs = keras.Input(shape, name="input")
        tokens = Position()(ColumnTokens()(inputs) if kind == "table" else _patch_tokens(inputs, shape))
        for _ in range(sizes.ENCODER_LAYERS):
            tokens = _encoder_layer(tokens)
        pooled = layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-5)(tokens))
        return keras.Model(inputs, layers.Dense(classes, name="logits")(pooled), name="transformer")
