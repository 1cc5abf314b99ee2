"""A small ensemble of one-hidden-layer networks, shared by all targets, in numpy alone.

The hidden layer learns once what makes a request hard, and the output layer each target's ability
on top of it. Live requests grade one target only, so the fit takes a sparse grade matrix with a
weight per entry. Averaging a few seeds reduces variance between targets, and the spread of the
seeds is a usable measure of uncertainty. Equal seeds give equal networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmrouter.learning.encoders.hashed_features import Floats

_FAR = np.float32(-30)
_TINY = np.float32(1e-6)


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """How the networks are fitted: chosen by cross-validation over five outcome sets."""

    members: int = 4
    hidden: int = 128
    epochs: int = 14
    dropout: float = 0.5
    input_dropout: float = 0.25
    rate: float = 2e-3
    batch: int = 128


@dataclass(frozen=True, slots=True)
class Network:
    """`entry` float32 [d, M*h], `entry_bias` [M*h], `exit` [M, h, T], `exit_bias` [M, T]."""

    entry: Floats
    entry_bias: Floats
    exit: Floats
    exit_bias: Floats

    def members(self, inputs: Floats) -> Floats:
        """Each member's probability for `inputs` [n, d]: float32 [M, n, T]."""
        count, hidden, _ = self.exit.shape
        active = np.maximum(inputs @ self.entry + self.entry_bias, 0)
        split = active.reshape(len(inputs), count, hidden).transpose(1, 0, 2)
        return sigmoid(split @ self.exit + self.exit_bias[:, None, :])


def sigmoid(values: Floats) -> Floats:
    """The logistic function, safe for any finite value."""
    bounded = np.minimum(np.maximum(values, _FAR), -_FAR)
    return np.asarray(1 / (1 + np.exp(-bounded)), np.float32)


def fit_network(
    inputs: Floats,
    grades: Floats,
    weights: Floats,
    settings: NetworkSettings,
    seed: int,
    progress: Callable[[float], None] = lambda _: None,
) -> Network:
    """Fits all members. `grades` [n, T] in 0..1 where `weights` [n, T] > 0, anything elsewhere.

    Deterministic given `seed`. `progress` hears the share done after each epoch.
    """
    members = []
    for number in range(settings.members):

        def step(share: float, number: int = number) -> None:
            progress((number + share) / settings.members)

        random = np.random.default_rng((seed, number))
        members.append(_fit_member(inputs, grades, weights, settings, random, step))
    return Network(
        np.concatenate([m[0] for m in members], axis=1),
        np.concatenate([m[1] for m in members]),
        np.stack([m[2] for m in members]),
        np.stack([m[3] for m in members]),
    )


def _start(
    width: int, grades: Floats, weights: Floats, hidden: int, random: np.random.Generator
) -> list[Floats]:
    mass = weights.sum(axis=0)
    mean = ((grades * weights).sum(axis=0) + 0.5) / (mass + 1)
    mean = np.clip(mean, 0.01, 0.99)
    entry = random.normal(size=(width, hidden)) / np.sqrt(width)
    leave = random.normal(size=(hidden, grades.shape[1])) * np.sqrt(0.1 / hidden)
    start = [entry, np.zeros(hidden), leave, np.log(mean / (1 - mean))]
    return [np.asarray(part, np.float32) for part in start]


def _fit_member(
    inputs: Floats,
    grades: Floats,
    weights: Floats,
    settings: NetworkSettings,
    random: np.random.Generator,
    progress: Callable[[float], None],
) -> list[Floats]:
    count = len(inputs)
    grades = np.where(weights > 0, grades, np.float32(0)).astype(np.float32)
    parts = _start(inputs.shape[1], grades, weights, settings.hidden, random)
    optimiser = _Adam(parts, settings.rate, settings.epochs * -(-count // settings.batch))
    for epoch in range(settings.epochs):
        order = random.permutation(count)
        for at in range(0, count, settings.batch):
            rows = order[at : at + settings.batch]
            batch = inputs[rows] * _keep(
                (len(rows), inputs.shape[1]), settings.input_dropout, random
            )
            optimiser.step(
                _gradients(batch, grades[rows], weights[rows], parts, settings.dropout, random)
            )
        progress((epoch + 1) / settings.epochs)
    return parts


def _keep(shape: tuple[int, int], dropout: float, random: np.random.Generator) -> Floats:
    kept = random.random(shape, dtype=np.float32) >= dropout
    return kept * np.float32(1 / (1 - dropout))


def _gradients(
    batch: Floats,
    grades: Floats,
    weights: Floats,
    parts: list[Floats],
    dropout: float,
    random: np.random.Generator,
) -> list[Floats]:
    entry, entry_bias, leave, leave_bias = parts
    raw = batch @ entry + entry_bias
    kept = _keep((len(batch), entry.shape[1]), dropout, random)
    active = np.maximum(raw, 0) * kept
    error = (sigmoid(active @ leave + leave_bias) - grades) * weights
    mass = weights.sum(axis=0)
    error /= max(float(mass[mass > 0].mean()) if mass.any() else 1.0, 1.0)
    back = (error @ leave.T) * kept * (raw > 0)
    return [batch.T @ back, back.sum(axis=0), active.T @ error, error.sum(axis=0)]


class _Adam:
    """Adam with a cosine rate; updates `parts` in place."""

    def __init__(self, parts: list[Floats], rate: float, total: int) -> None:
        self._parts = parts
        self._first: list[NDArray[np.float32]] = [np.zeros_like(p) for p in parts]
        self._second: list[NDArray[np.float32]] = [np.zeros_like(p) for p in parts]
        self._rate, self._total, self._done = rate, max(total, 1), 0

    def step(self, gradients: list[Floats]) -> None:
        self._done += 1
        rate = self._rate * 0.5 * (1 + np.cos(np.pi * self._done / self._total))
        unbias_first, unbias_second = 1 - 0.9**self._done, 1 - 0.99**self._done
        for part, gradient, first, second in zip(
            self._parts, gradients, self._first, self._second, strict=True
        ):
            first += np.float32(0.1) * (gradient - first)
            second += np.float32(0.01) * (gradient * gradient - second)
            scale = np.sqrt(second / np.float32(unbias_second)) + _TINY
            part -= np.float32(rate / unbias_first) * first / scale
