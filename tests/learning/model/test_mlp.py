"""The networks: what they learn, what they learn from, and that a seed decides."""

import numpy as np

from llmrouter.learning.model.mlp import NetworkSettings, fit_network


def _lesson(examples: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    inputs = random.normal(size=(examples, 6)).astype(np.float32)
    grades = np.stack((inputs[:, 0] > 0, inputs[:, 1] > 0), axis=1).astype(np.float32)
    return inputs, grades, np.ones_like(grades)


def test_it_learns_which_target_suits_which_input() -> None:
    """On inputs it has not seen, nearly every pair of grades is told."""
    inputs, grades, weights = _lesson(900)
    network = fit_network(inputs[:600], grades[:600], weights[:600], NetworkSettings(epochs=60), 0)
    told = network.members(inputs[600:]).mean(axis=0) > 0.5
    assert (told == grades[600:]).mean() > 0.93


def test_ungraded_entries_teach_nothing() -> None:
    """What stands where the weight is zero changes no number of the fit."""
    inputs, grades, weights = _lesson(300)
    weights[::2, 1] = 0
    other = np.where(weights > 0, grades, 1 - grades)
    settings = NetworkSettings(members=1)
    first, second = (fit_network(inputs, g, weights, settings, 7) for g in (grades, other))
    assert np.array_equal(first.members(inputs), second.members(inputs))


def test_a_seed_decides_and_progress_ends_at_one() -> None:
    """Equal seeds give equal networks, others do not; the share done grows to the whole."""
    inputs, grades, weights = _lesson(300)
    settings = NetworkSettings(members=2, epochs=3)
    heard: list[float] = []
    first = fit_network(inputs, grades, weights, settings, 1, heard.append)
    again = fit_network(inputs, grades, weights, settings, 1)
    other = fit_network(inputs, grades, weights, settings, 2)
    assert np.array_equal(first.entry, again.entry)
    assert not np.array_equal(first.entry, other.entry)
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
