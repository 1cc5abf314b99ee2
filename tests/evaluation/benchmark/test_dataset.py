"""Rows are read strictly: what is wrong is said with its file and line."""

import gzip
from pathlib import Path

import pytest

from llmrouter.evaluation.benchmark.dataset import BadInput, read, read_all, stem

GOOD = '{"id": "a", "task": "t", "prompt": "p", "outcomes": {"m": 1}, "costs": {"m": 0.5}}\n'


def _write(folder: Path, text: str, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_plain_and_gzipped_rows_read_alike(tmp_path: Path) -> None:
    """Compression is recognised by content, not by the file's name."""
    plain = read(_write(tmp_path, GOOD + "\n" + GOOD.replace('"a"', '"b"')))
    packed = tmp_path / "odd.jsonl"
    packed.write_bytes(gzip.compress((GOOD + GOOD.replace('"a"', '"b"')).encode()))
    assert plain.rows == read(packed).rows
    assert plain.rows[0].outcomes == {"m": 1.0}
    assert plain.rows[0].costs == {"m": 0.5}
    assert plain.targets == ("m",)


def test_rows_may_lack_outcomes_or_hold_some(tmp_path: Path) -> None:
    """A journal grades the target that served; a test row may grade none."""
    rows = '{"id": 7, "prompt": "p"}\n{"id": "b", "prompt": "q", "outcomes": {"m": null, "n": 0}}\n'
    found = read(_write(tmp_path, rows))
    assert found.rows[0].id == 7
    assert found.rows[0].outcomes == {}
    assert found.rows[1].outcomes == {"n": 0.0}
    assert [row.id for row in found.graded] == ["b"]


def test_keys_of_other_tools_are_left_alone(tmp_path: Path) -> None:
    """An export may carry more than is needed."""
    row = GOOD.replace('"id"', '"source": "llm", "cost": 1, "id"')
    assert read(_write(tmp_path, row)).rows[0].id == "a"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{broken", "not a JSON object"),
        ("[1]", "a row is a JSON object, not a list"),
        ('{"id": "a"}', '"prompt" must be a string, not missing'),
        ('{"id": "a", "prompt": 3}', '"prompt" must be a string, not a number'),
        ('{"prompt": "p"}', '"id" must be a string, not missing'),
        ('{"id": true, "prompt": "p"}', '"id" must be a string, not a boolean'),
        ('{"id": "a", "prompt": "p", "task": 1}', '"task" must be a string'),
        ('{"id": "a", "prompt": "p", "outcomes": [1]}', '"outcomes" must be an object'),
        ('{"id": "a", "prompt": "p", "outcomes": {"m": "x"}}', "must be a number, not a string"),
        ('{"id": "a", "prompt": "p", "outcomes": {"m": true}}', "must be a number, not a boolean"),
        ('{"id": "a", "prompt": "p", "outcomes": {"m": 1.5}}', "is 1.5: expected 0..1"),
        ('{"id": "a", "prompt": "p", "costs": {"m": -1}}', "is -1: expected 0 or more"),
        ('{"id": "a", "prompt": "p", "outcome": {"m": 1}}', "did you mean 'outcomes'?"),
        ('{"id": "a", "Prompt": "p"}', "did you mean 'prompt'?"),
        ('{"id": "first", "prompt": "p"}', "id 'first' stands already in line 1"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, row: str, says: str) -> None:
    """The message starts with the place and says what is wrong."""
    path = _write(tmp_path, '{"id": "first", "prompt": "p"}\n\n' + row + "\n")
    with pytest.raises(BadInput) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert says in str(caught.value)


def test_missing_empty_and_cut_files_are_named(tmp_path: Path) -> None:
    """A file that holds no rows, or ends within its compression, is no data set."""
    with pytest.raises(BadInput, match="no such file"):
        read(tmp_path / "absent.jsonl")
    with pytest.raises(BadInput, match="holds no rows"):
        read(_write(tmp_path, "\n\n"))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(GOOD.encode() * 500)[:-20])
    with pytest.raises(BadInput, match=r"cut\.jsonl\.gz:\d+: "):
        read(cut)
    with pytest.raises(BadInput, match="cannot be read"):
        read(tmp_path)


def test_names_are_stems_and_made_distinct(tmp_path: Path) -> None:
    """Two files of one name are two sets in a report."""
    (tmp_path / "x").mkdir()
    paths = [_write(tmp_path, GOOD, "s.jsonl"), _write(tmp_path / "x", GOOD, "s.jsonl")]
    assert [one.name for one in read_all(paths)] == ["s", "s (2)"]
    assert stem(Path("nine.dev.jsonl.gz")) == "nine.dev"
    assert stem(Path("nine.csv")) == "nine"
