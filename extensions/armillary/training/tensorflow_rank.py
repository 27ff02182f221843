"""Keras 3 inside a rank: MultiWorkerMirroredStrategy adds up gradients that each rank computes in plain TensorFlow.

Keras 3's own `fit` fails under this strategy ("unsupported type PerReplica"). Variables are plain ones, the same on
every rank from the start, and stay the same because each rank applies the same summed gradient.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, BinaryIO

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from armillary.training import keras_network
from armillary.training.engine import Engine, Sums

OPTIMIZERS: dict[str, type[keras.optimizers.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "sgd": keras.optimizers.SGD,
}


class TensorFlowEngine(Engine):
    """One flat tensor holds all gradients, so that a step is one collective."""

    reader = "to_tensorflow"

    def prepare(self, packed: bytes, example: npt.NDArray[np.float32]) -> None:
        """Join the other ranks by TF_CONFIG, rebuild the network and make the optimizer."""
        tf.config.threading.set_intra_op_parallelism_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        # A collective waits in a thread of its own while the next operation is prepared.
        tf.config.threading.set_inter_op_parallelism_threads(2)
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        self.network = keras_network.unpack(packed, example)
        self.learnt = [variable.value for variable in self.network.trainable_variables]
        self.optimizer = OPTIMIZERS[self.plan.optimizer](self.plan.learning_rate)
        self.optimizer.build(self.network.trainable_variables)
        self._train = tf.function(self._train_graph, reduce_retracing=True)
        self._evaluate = tf.function(self._evaluate_graph, reduce_retracing=True)
        self._sum = tf.function(self._sum_graph, reduce_retracing=True)

    def begin_epoch(self, epoch: int) -> None:
        """Seed TensorFlow's operations; Keras' own seeds are variables, which checkpoints hold."""
        tf.random.set_seed(hash((self.plan.seed, epoch, self.rank)) % 2**31)

    def train_step(self, x: Any, y: Any, examples: int, learning_rate: float) -> Any:
        """Take one step; see `Engine.train_step`."""
        self.optimizer.learning_rate.assign(learning_rate)
        return self._train(*_weighted(x, y), tf.constant(examples, tf.float32))

    def evaluate(self, x: Any, y: Any) -> Any:
        """Return loss, right answers and examples without learning."""
        return self._evaluate(*_weighted(x, y))

    def _train_graph(self, x: Any, y: Any, weights: Any, examples: Any) -> Any:
        """Compute this rank's gradient, add it up over ranks and apply it."""
        with tf.GradientTape() as tape:
            logits = self.network(x, training=True)
            loss = tf.reduce_sum(_losses(logits, y) * weights)
            # Penalties of layers (weight decay) count once, not once per rank.
            penalty = tf.add_n(self.network.losses) if self.network.losses else tf.constant(0.0)
            objective = loss / examples + penalty / float(self.plan.workers)
        gradients = tape.gradient(objective, self.learnt, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        self.optimizer.apply(self._summed(gradients), self.network.trainable_variables)
        return _tally(loss, logits, y, weights)

    def _summed(self, gradients: list[Any]) -> list[Any]:
        """Return the gradients added up over ranks."""
        dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
        flat = self._sum_graph(tf.concat([tf.reshape(tf.cast(part, tf.float32), [-1]) for part in dense], axis=0))
        parts = tf.split(flat, [part.shape.num_elements() for part in dense])
        return [tf.cast(tf.reshape(a, b.shape), b.dtype) for a, b in zip(parts, dense, strict=True)]

    def _sum_graph(self, values: Any) -> Any:
        """Add up a tensor over ranks."""
        return self.strategy.run(_sum_in_replica, args=(values,))

    def _evaluate_graph(self, x: Any, y: Any, weights: Any) -> Any:
        logits = self.network(x, training=False)
        return _tally(tf.reduce_sum(_losses(logits, y) * weights), logits, y, weights)

    def sum_over_ranks(self, tallies: list[Any]) -> Sums:
        """Return the tallies added up over all ranks."""
        return np.asarray(self._sum(tf.stack(tallies)), dtype=np.float64)

    def save(self, file: BinaryIO, epoch: int) -> None:
        """Write arrays only, so that a load needs to run no code."""
        arrays = {f"network_{i}": np.asarray(value) for i, value in enumerate(self.network.variables)}
        arrays |= {f"optimizer_{i}": np.asarray(value) for i, value in enumerate(self.optimizer.variables)}
        np.savez(file, allow_pickle=False, epoch=np.asarray(epoch), **arrays)

    def restore(self, path: str) -> int:
        """Read what `save` wrote and return its epoch."""
        keras_network.load_weights(self.network, path)
        with np.load(path, allow_pickle=False) as stored:
            for index, variable in enumerate(self.optimizer.variables):
                variable.assign(stored[f"optimizer_{index}"])
            return int(stored["epoch"])

    def leave(self) -> None:
        """Wait for every rank, so that none loses its peer too early."""
        # Whoever is through first may be gone before its last answer arrives here; everything is saved by now.
        with contextlib.suppress(tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError):
            self._sum(tf.zeros([1, 3], tf.float64))


def _weighted(x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Return the batch and its weights; an empty one becomes one example of weight 0."""
    x, y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    if x.shape[0] == 0:
        return tf.zeros([1, *x.shape[1:]]), tf.zeros([1], tf.int64), tf.zeros([1])
    return x, y, tf.ones([x.shape[0]])


def _losses(logits: Any, y: Any) -> Any:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)


def _tally(loss: Any, logits: Any, y: Any, weights: Any) -> Any:
    """Return loss, right answers and examples as float64 ``(3,)``."""
    right = tf.reduce_sum(tf.cast(tf.equal(tf.argmax(logits, axis=1), y), tf.float32) * weights)
    return tf.cast(tf.stack([loss, right, tf.reduce_sum(weights)]), tf.float64)


def _sum_in_replica(values: Any) -> Any:
    # Made here, a tensor has the replica's device, without which the collective does not know where to put the sum.
    placed = tf.identity(values)
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, placed)
