"""The preference model learns from partial grades, remembers, and survives storage."""

import functools
import random
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrouter.learning.encoders.hashed_features import measured
from llmrouter.learning.encoders.text_encoder import DenseEncoder, Vectors
from llmrouter.learning.model.cold_start import ColdStartEstimate
from llmrouter.learning.model.mlp import NetworkSettings
from llmrouter.learning.model.quality_model import Example, QualityModel
from llmrouter.learning.model.storage import ModelUnreadable, pack, unpack
from llmrouter.learning.model.training import FitSettings, Fitted, fit, folds_of
from tests.samples import examples

SMALL = FitSettings(
    width=16, vocabulary=500, trees=20, lists=8, capacity=400,
    network=NetworkSettings(members=2, hidden=16, epochs=30),
)  # fmt: skip
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
SUMS = ("What is {} plus {}?", "Add {} to {}.", "Compute {} times {}.")
POEMS = ("Write a poem about {} and {}.", "A haiku on {} with {}.", "Sing of {} and of {}!")
THINGS = ("rain", "stone", "bread", "winter", "horses", "rivers", "copper", "night")


def _example(number: int, source: random.Random, partial: bool = False) -> Example:
    """Sums are for `maths`, poems for `verse`, and `even` does either half the time."""
    if number % 2:
        text = source.choice(SUMS).format(source.randrange(90), source.randrange(90))
        grades: Mapping[str, float] = {"maths": 1.0, "verse": 0.0, "even": 0.5}
    else:
        text = source.choice(POEMS).format(*source.sample(THINGS, 2))
        grades = {"maths": 0.0, "verse": 1.0, "even": 0.5}
    if partial:
        target = source.choice(sorted(grades))
        grades = {target: grades[target]}
    return Example(text, grades, 1.0, "sum" if number % 2 else "poem")


def _examples(count: int, seed: int, partial: bool = False) -> list[Example]:
    source = random.Random(seed)
    return [_example(number, source, partial) for number in range(count)]


@functools.cache
def _fitted(partial: bool = False) -> Fitted:
    return fit(_examples(240, 1, partial), SMALL)


def _score(model: QualityModel, examples: list[Example]) -> float:
    scores = model.estimate_many([one.text for one in examples], model.targets)
    picks = scores.argmax(axis=1)
    graded = [one.grades[model.targets[p]] for one, p in zip(examples, picks, strict=True)]
    return sum(graded) / len(graded)


@pytest.mark.parametrize("partial", [False, True])
def test_it_beats_the_best_single_target(partial: bool) -> None:
    """Full rows or one grade a request: the model picks the right specialist for new requests."""
    assert _score(_fitted(partial).model, _examples(60, 2)) > 0.9


def test_held_out_estimates_come_with_the_fit() -> None:
    """Each example has an estimate that never saw it, in 0..1."""
    held_out = _fitted().held_out
    assert held_out.shape == (240, 3)
    assert 0 <= held_out.min() <= held_out.max() <= 1


def test_one_by_one_equals_the_batch() -> None:
    """`estimate` and `estimate_many` agree, and keep the order of the targets asked for."""
    model = _fitted().model
    texts = ["Add 3 to 4.", "A poem.", "", "Völlig neu"]
    wanted = ("verse", "maths", "stranger")
    batch = model.estimate_many(texts, wanted)
    for row, text in enumerate(texts):
        np.testing.assert_allclose(model.estimate(text, wanted).quality, batch[row], atol=1e-5)


def test_fitting_is_deterministic() -> None:
    """Equal examples and seed give equal estimates."""
    again = fit(_examples(240, 1), SMALL).model
    texts = [one.text for one in _examples(20, 3)]
    np.testing.assert_array_equal(
        again.estimate_many(texts, again.targets),
        fit(_examples(240, 1), SMALL).model.estimate_many(texts, again.targets),
    )


@given(ANY_TEXT)
@settings(deadline=None)
def test_any_text_has_an_estimate(text: str) -> None:
    """Every text, however hostile, gets finite qualities in 0..1."""
    estimates = _fitted().model.estimate(text, ("maths", "verse", "new"))
    assert np.isfinite(estimates.quality).all()
    assert 0 <= estimates.quality.min() <= estimates.quality.max() <= 1
    assert np.isfinite(estimates.uncertainty).all()
    assert estimates.known.tolist() == [True, True, False]


def test_a_megabyte_has_an_estimate() -> None:
    """Size is no obstacle."""
    assert len(_fitted().model.estimate("x y " * 250_000, ("maths",)).quality) == 1


def test_no_targets_is_no_estimates() -> None:
    """Asking about nothing is answered with nothing."""
    assert len(_fitted().model.estimate("hello", ()).quality) == 0


def test_an_example_at_the_edge_fits() -> None:
    """No examples, and a handful, give a model of priors rather than an error."""
    empty = fit([], SMALL).model
    assert empty.estimate("hello", ("a", "b")).quality.tolist() == [0.5, 0.5]
    assert empty.estimate("hello", ("a",)).known.tolist() == [False]
    few = fit(_examples(3, 1), SMALL).model
    assert few.targets == ("even", "maths", "verse")
    assert np.isfinite(few.estimate("hello", few.targets).quality).all()


def test_memory_counts_at_once() -> None:
    """A graded request moves the estimate of its repeat, of that target alone, before a refit."""
    model = QualityModel.from_bytes(_fitted().model.to_bytes())
    text = "Please translate this sentence into Latin, and keep the metre."
    before = model.estimate(text, ("maths", "even"))
    for _ in range(6):
        model.remember(model.encode(text), {"maths": 1.0})
    after = model.estimate(text, ("maths", "even"))
    assert after.quality[0] > before.quality[0] + 0.05
    assert after.quality[1] == pytest.approx(before.quality[1], abs=5e-3)
    assert after.support[0] > 5
    assert after.nearest > 0.99


def test_a_new_target_inherits_until_it_is_graded() -> None:
    """It is estimated as its heir says, request by request; a grade then moves it alone."""
    model = QualityModel.from_bytes(_fitted().model.to_bytes())
    model.heirs = {"sums": ColdStartEstimate(np.array([0, 1, 0], np.float32), -0.1)}
    asked, targets = "Add 3 to 4.", ("maths", "sums", "stranger")
    before, poem = model.estimate(asked, targets), model.estimate("Sing of rain!", targets)
    assert before.quality[1] == pytest.approx(before.quality[0] - 0.1, abs=0.05)
    assert poem.quality[1] < 0.2
    assert before.uncertainty[1] > before.uncertainty[0]
    assert before.quality[2] == pytest.approx(0.5, abs=0.1)  # nothing is known: the mean of all
    model.remember(model.encode(asked), {"sums": 0.0})
    after = model.estimate(asked, targets)
    assert after.quality[1] < before.quality[1] - 0.2
    assert after.quality[[0, 2]] == pytest.approx(before.quality[[0, 2]], abs=5e-3)


def test_a_cold_model_learns_from_memory_alone() -> None:
    """Without any fit, graded requests already separate new targets."""
    model = fit([], SMALL).model
    for one in _examples(80, 4):
        model.remember(model.encode(one.text), one.grades)
    found = model.estimate("What is 11 plus 29?", ("maths", "verse"))
    assert found.quality[0] > found.quality[1]
    assert found.known.tolist() == [False, False]


def test_measurements_fit_as_their_texts_do() -> None:
    """Nothing else of a text is needed: the model is the same one, and encodes them the same."""
    texts = _examples(120, 4)
    kept = [Example("", e.grades, e.weights, e.task, measured(e.text)) for e in texts]
    model = fit(kept, SMALL).model
    assert model.to_bytes() == fit(texts, SMALL).model.to_bytes()
    encoded, known = model.encode("Add 3 to 4."), model.encode_measured(measured("Add 3 to 4."))
    assert np.array_equal(encoded.vector, known.vector)
    assert np.array_equal(encoded.sketch, known.sketch)


def test_measurements_are_refused_where_texts_are_needed() -> None:
    """An encoder that reads texts cannot fit on them; encoding takes the vector it gave."""
    dense = DenseEncoder("d", 4, lambda some: np.ones((len(some), 4), np.float32))
    kept = Example("", {"a": 1.0}, 1.0, None, measured("Add 3 to 4."))
    with pytest.raises(ValueError, match="without their texts"):
        fit([kept] * 20, SMALL, encoder=dense)
    model = fit([Example(f"Add {n} to 4.", {"a": 1.0}) for n in range(20)], SMALL, encoder=dense)
    about = measured("Add 3 to 4.")
    with pytest.raises(LookupError, match="needs a vector"):
        model.model.encode_measured(about)
    known = model.model.encode_measured(about, np.ones(4, np.float32))
    assert np.array_equal(known.vector, model.model.encode("Add 3 to 4.").vector)


def test_grades_of_the_very_request_are_told_apart_from_others() -> None:
    """In other clothes it is the same request; what was worth less than asked for is left out."""
    model = fit(_examples(60, 3), SMALL).model
    text = "Which copper kettle boils seventeen litres before the winter horses arrive?"
    assert model.graded(model.encode(text)) == {}
    model.remember(model.encode(text), {"maths": 1.0, "new": 0.0})
    model.remember(model.encode(text), {"maths": 0.0})
    model.remember(model.encode(text), {"verse": 1.0}, 0.7)
    again = model.graded(model.encode(f"Hi, {text.lower()}"))
    assert again == pytest.approx({"maths": 0.5, "new": 0.0})
    assert model.graded(model.encode(text), least=0.6)["verse"] == 1.0
    assert model.graded(model.encode("Sing of bread and of rain!")) == {}


def test_memory_is_bounded_in_entries_and_targets() -> None:
    """The oldest entries leave, and invented targets stop getting columns."""
    model = fit(_examples(20, 5), SMALL).model
    for number in range(500):
        model.remember(model.encode(f"request {number}"), {f"target-{number}": 1.0})
    assert len(model.memory) == SMALL.capacity
    assert model.memory.grades.shape[1] <= 3 + QualityModel.SPARE_TARGETS
    assert model.estimate("request 1", ("target-400",)).quality.shape == (1,)


def test_grades_out_of_range_are_refused() -> None:
    """A grade of 7 or a weight of 0 is the caller's mistake, in memory and in the fit."""
    model = _fitted().model
    encoded = model.encode("hello")
    with pytest.raises(ValueError, match=r"0\.\.1"):
        model.remember(encoded, {"maths": 7})
    with pytest.raises(ValueError, match=r"0\.\.1"):
        model.remember(encoded, {"maths": 1}, 0)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        fit([Example("x", {"maths": float("nan")})], SMALL)


def test_weights_decide_between_contradicting_grades() -> None:
    """Of two opposite grades, the one that is worth more wins."""
    rows = [Example(f"{o.text}", {"a": 1.0}, 1.0) for o in _examples(60, 6)]
    rows += [Example(f"{o.text}", {"a": 0.0}, {"a": 0.05}) for o in _examples(60, 6)]
    model = fit(rows, SMALL).model
    assert model.estimate("What is 4 plus 5?", ("a",)).quality[0] > 0.7


def test_storage_round_trip() -> None:
    """A restored model answers exactly as the stored one, remembered requests included."""
    model = _fitted().model
    restored = QualityModel.from_bytes(model.to_bytes())
    texts = [one.text for one in _examples(20, 7)]
    np.testing.assert_array_equal(
        restored.estimate_many(texts, model.targets), model.estimate_many(texts, model.targets)
    )
    assert restored.to_bytes() == model.to_bytes()


@given(st.integers(0, 10**9), st.integers(1, 255))
@settings(max_examples=examples(40), deadline=None)
def test_damage_is_noticed(position: int, flip: int) -> None:
    """One flipped byte anywhere is a clear error, never a wrong model."""
    data = bytearray(_bytes())
    data[position % len(data)] ^= flip
    with pytest.raises(ModelUnreadable):
        QualityModel.from_bytes(bytes(data))


@functools.cache
def _bytes() -> bytes:
    return _fitted().model.to_bytes()


@pytest.mark.parametrize("data", [b"", b"LLMRPREF", b"\x80\x04pickle", b"LLMRPREF" + bytes(40)])
def test_foreign_bytes_are_refused(data: bytes) -> None:
    """Anything that is not a stored model says so."""
    with pytest.raises(ModelUnreadable):
        QualityModel.from_bytes(data)
    with pytest.raises(ModelUnreadable):
        QualityModel.from_bytes(_bytes()[:-5])


def test_parts_that_do_not_fit_are_refused() -> None:
    """A well-formed envelope with the wrong contents is refused too."""
    meta, arrays = unpack(_bytes())
    arrays.pop("memory_home")
    with pytest.raises(ModelUnreadable, match="fit together"):
        QualityModel.from_bytes(pack(meta, arrays))


def test_a_dense_encoder_fits_and_is_asked_for_again() -> None:
    """Any embedding works; its model is restored only with the encoder it was fitted on."""

    def embed(texts: list[str]) -> np.ndarray:
        rows = [[len(t), t.count("e"), "?" in t, *np.sin(np.arange(30) * len(t))] for t in texts]
        return np.array(rows, np.float32)

    encoder = DenseEncoder("test", 33, embed)
    model = fit(_examples(120, 8), SMALL, encoder=encoder).model
    assert _score(model, _examples(40, 9)) > 0.9
    data = model.to_bytes()
    restored = QualityModel.from_bytes(data, encoder)
    assert _score(restored, _examples(40, 9)) > 0.9
    ready = model.encode("Add 1 to 2.")
    alone = QualityModel.from_bytes(data)
    assert np.array_equal(
        alone.estimate(ready, ("maths",)).quality, model.estimate(ready, ("maths",)).quality
    )
    with pytest.raises(LookupError, match="attach that encoder first"):
        alone.encode("Add 1 to 2.")
    for stranger in (DenseEncoder("other", 33, embed), DenseEncoder("test", 32, embed)):
        with pytest.raises(ModelUnreadable, match="fitted on"):
            QualityModel.from_bytes(data, stranger)
    with pytest.raises(ModelUnreadable, match="fitted on"):
        QualityModel.from_bytes(_bytes(), encoder)


def test_a_model_that_reads_vectors_without_words_is_refused() -> None:
    """As earlier versions stored it: its numbers would be taken for others."""
    encoder = DenseEncoder("test", 4, lambda some: np.ones((len(some), 4), np.float32))
    meta, arrays = unpack(fit(_examples(60, 8), SMALL, encoder=encoder).model.to_bytes())
    old = {name: array for name, array in arrays.items() if not name.startswith("encoder_")}
    for dense in (None, encoder):
        with pytest.raises(ModelUnreadable, match="of 'test' without the words: fit it again"):
            QualityModel.from_bytes(pack({**meta, "width": 4}, old), dense)


@pytest.mark.parametrize("told", ["words", "vector"])
def test_words_and_vectors_are_both_read(told: str) -> None:
    """What only one of them tells is learned."""
    dice = np.random.default_rng(5)
    signs = dice.choice([-1.0, 1.0], 900)
    texts = [
        f"{chr(97 + n % 26)} {chr(97 + n // 26)} {'bread' if told == 'words' and up else 'grain'}"
        for n, up in enumerate(signs > 0)
    ]
    rows = dice.normal(size=(900, 6)).astype(np.float32)
    if told == "vector":
        rows[:, 2] += 2 * signs
    examples = [Example(t, {"a": float(s > 0)}) for t, s in zip(texts, signs, strict=True)]
    quick = FitSettings(folds=2, trees=20, width=32)
    estimates = fit(examples, quick, encoder=Vectors("v", rows)).held_out[:, 0]
    assert ((estimates > 0.5) == (signs > 0)).mean() > 0.9


def test_an_axis_along_which_vectors_hardly_differ_is_not_blown_up() -> None:
    """A text off the line that all training vectors lie on is no outlier a thousand times over."""
    dice = np.random.default_rng(2)
    rows = np.outer(dice.normal(size=80), [1, 0, 0, 0]) + dice.normal(size=(80, 4)) * 1e-5
    examples = [Example(f"text {n}", {"a": float(rows[n, 0] > 0)}) for n in range(80)]
    model = fit(examples, SMALL, encoder=Vectors("v", rows.astype(np.float32))).model
    off = model.encode_measured(measured("text 3"), np.array([1, 0, 0.5, 0], np.float32))
    assert np.abs(model.inputs.build(off.vector, off.readable)).max() < 100


def test_progress_is_reported() -> None:
    """The callback hears stages and shares in 0..1, up to the end."""
    heard: list[tuple[str, float]] = []
    fit(_examples(40, 10), SMALL, progress=lambda stage, share: heard.append((stage, share)))
    assert heard[-1] == ("remember", 1.0)
    assert {stage for stage, _ in heard} == {"encode", "hold out", "fit", "remember"}
    assert all(0 <= share <= 1 for _, share in heard)


def test_folds_survive_a_common_template() -> None:
    """Prompts that open alike would share one fold; then the whole text decides."""
    texts = [f"Answer this question, and choose one of the options below. {n}" for n in range(90)]
    counts = np.bincount(folds_of(texts, 3), minlength=3)
    assert counts.min() > 15
    near_duplicates = ["Who wrote Hamlet, and when?", "who wrote hamlet and when", *texts[:40]]
    fold = folds_of(near_duplicates, 3)
    assert fold[0] == fold[1]
