"""The command: its words, files, exit codes, and silence in a pipe."""

import json
from pathlib import Path

import orjson
import pytest
import typer
from typer.testing import CliRunner

from llmrouter.evaluation.benchmark.arguments import EvalCommand, eval_command, spread

runner = CliRunner()


def _app() -> typer.Typer:
    app = typer.Typer()
    app.command("eval", cls=EvalCommand)(eval_command)
    app.callback()(lambda: None)
    return app


def _rows(path: Path, count: int, *, outcomes: bool = True, offset: int = 0) -> Path:
    lines = []
    for number in range(offset, offset + count):
        row: dict[str, object] = {"id": f"r{number}", "task": "t", "prompt": f"prompt {number}"}
        if outcomes:
            row["outcomes"] = {"big": 1.0, "small": float(number % 2)}
        lines.append(orjson.dumps(row))
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_one_train_option_takes_several_files() -> None:
    """As a shell's glob gives them; the run ends at the next option or at `--`."""
    assert spread(["t", "--train", "a", "b", "--json", "j"], "--train") == [
        *("t", "--train", "a", "--train", "b", "--json", "j")
    ]
    assert spread(["--train", "a", "--", "t"], "--train") == ["--train", "a", "--", "t"]
    assert spread(["t", "--train"], "--train") == ["t", "--train"]
    assert spread(["--train=a", "t"], "--train") == ["--train=a", "t"]


def test_everything_asked_for_is_written(tmp_path: Path) -> None:
    """Table on standard output, JSON, page and predictions in files; two training files."""
    test = _rows(tmp_path / "test.jsonl", 30)
    trains = [_rows(tmp_path / f"t{n}.jsonl", 40, offset=100 * n) for n in (1, 2)]
    prices = tmp_path / "prices.yaml"
    prices.write_text("big: 1.0\nsmall: 0.1\n")
    out = {name: tmp_path / name for name in ("r.json", "r.html", "r.jsonl")}
    arguments = ["eval", str(test), "--train", *map(str, trains), "--prices", str(prices)]
    arguments += ["--json", str(out["r.json"]), "--html", str(out["r.html"])]
    arguments += ["--predictions", str(out["r.jsonl"]), "--draws", "40"]
    done = runner.invoke(_app(), arguments)
    assert done.exit_code == 0, done.output
    assert "always-cheapest" in done.stdout
    assert "fitted on t1 + t2 (80 rows)" in done.stdout
    assert done.stderr == ""
    report = json.loads(out["r.json"].read_bytes())
    assert report["schema"] == 1
    assert report["sets"][0]["name"] == "test"
    assert report["sets"][0]["cost"] == {"unit": "USD", "source": "priced"}
    page = out["r.html"].read_text("utf-8")
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    lines = [json.loads(line) for line in out["r.jsonl"].read_bytes().splitlines()]
    assert [line["id"] for line in lines] == [f"r{n}" for n in range(30)]
    assert all(set(line["scores"]) == {"big", "small"} for line in lines)
    assert all(0 <= score <= 1 for line in lines for score in line["scores"].values())


def test_rows_without_outcomes_are_predicted_and_no_table_is_printed(tmp_path: Path) -> None:
    """It says so on standard error and succeeds."""
    test = _rows(tmp_path / "test.jsonl", 5, outcomes=False)
    train = _rows(tmp_path / "train.jsonl", 40, offset=100)
    wanted = tmp_path / "p.jsonl"
    arguments = ["eval", str(test), "--train", str(train), "--predictions", str(wanted)]
    done = runner.invoke(_app(), arguments)
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "no row has outcomes, so there is no table" in done.stderr
    assert len(wanted.read_bytes().splitlines()) == 5


def test_predictions_carry_the_expected_cost_of_each_prompt(tmp_path: Path) -> None:
    """Where training rows record costs, a long prompt is expected to cost more than a short one;
    without recorded costs and prices a line has no `costs`."""
    rows = [
        {
            "id": f"t{n}",
            "prompt": f"count {n} " + "word " * (n % 40),
            "outcomes": {"big": 1.0, "small": float(n % 2)},
            "costs": {"big": 1e-4 * (5 + n % 40)},
        }
        for n in range(120)
    ]
    train = tmp_path / "train.jsonl"
    train.write_bytes(b"\n".join(json.dumps(row).encode() for row in rows))
    bare = tmp_path / "bare.jsonl"
    bare.write_bytes(
        b"\n".join(
            json.dumps({key: row[key] for key in ("id", "prompt", "outcomes")}).encode()
            for row in rows
        )
    )
    test = tmp_path / "test.jsonl"
    asked = [{"id": n, "prompt": "count 9 " + "word " * n} for n in (1, 38)]
    test.write_bytes(b"\n".join(json.dumps(row).encode() for row in asked))
    wanted = tmp_path / "p.jsonl"
    for file in (train, bare):
        arguments = ["eval", str(test), "--train", str(file), "--predictions", str(wanted)]
        done = runner.invoke(_app(), arguments)
        assert done.exit_code == 0, done.output
        short, long = (json.loads(line) for line in wanted.read_bytes().splitlines())
        assert set(short["scores"]) == {"big", "small"}
        if file is train:
            assert set(short["costs"]) == set(long["costs"]) == {"big"}
            assert long["costs"]["big"] > 2 * short["costs"]["big"] > 0
        else:
            assert "costs" not in short


def test_repeated_fits_and_the_noise_of_a_draw_are_told(tmp_path: Path) -> None:
    """`--fits` gives each figure's mean and extremes; the noise is told without asking."""
    test = _rows(tmp_path / "test.jsonl", 20)
    train = _rows(tmp_path / "train.jsonl", 40, offset=100)
    wanted = tmp_path / "r.json"
    arguments = ["eval", str(test), "--train", str(train), "--json", str(wanted)]
    done = runner.invoke(_app(), [*arguments, "--fits", "2", "--draws", "20"])
    assert done.exit_code == 0, done.output
    assert "noise: between draws of 20 rows" in done.stdout
    assert "2 fits: score at best" in done.stdout
    found = json.loads(wanted.read_bytes())["sets"][0]
    assert found["noise"]["rows"] == 20
    assert {one["figure"] for one in found["fits"]} >= {"score at best", "APGR"}
    assert all(one["low"] <= one["mean"] <= one["high"] for one in found["fits"])
    curve = next(one for one in found["curves"] if one["policy"] == "learned (hashing)")
    assert curve["score_at_fixed_price"]["price"] == 0.1
    assert 0 <= curve["saving_averaged"]["value"] <= 1


def test_without_training_files_it_cross_validates(tmp_path: Path) -> None:
    """And the table says so."""
    done = runner.invoke(_app(), ["eval", str(_rows(tmp_path / "t.jsonl", 40)), "--draws", "20"])
    assert done.exit_code == 0, done.output
    assert "5-fold cross-validation" in done.stdout
    assert "note: no training rows" in done.stdout


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["--train", "absent.jsonl"], "absent.jsonl:1: no such file"),
        (["--prices", "absent.yaml"], "absent.yaml:1: no such file"),
        (["--json", "nowhere/r.json"], "does not exist"),
        (["--html", "test.jsonl"], "would overwrite an input"),
        (["--json", "r", "--html", "r"], "would overwrite an input or another output"),
        (["--train", "bare.jsonl"], "nothing to fit on"),
        (["--encoder", "nonsense"], "no encoder 'nonsense'"),
        (["--nonsense"], "No such option"),
        (["--train"], "--train"),
        (["--draws", "3"], "--draws"),
    ],
)
def test_wrong_usage_is_exit_code_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: list[str], says: str
) -> None:
    """With one line that says what is wrong."""
    monkeypatch.chdir(tmp_path)
    _rows(Path("test.jsonl"), 20)
    _rows(Path("bare.jsonl"), 20, outcomes=False, offset=50)
    done = runner.invoke(_app(), ["eval", "test.jsonl", *extra])
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stdout == ""


def test_a_bad_row_is_exit_code_two_with_its_line(tmp_path: Path) -> None:
    """File, line and reason."""
    test = _rows(tmp_path / "test.jsonl", 20)
    test.write_bytes(test.read_bytes() + b'{"id": "x", "prompt": "p", "outcomes": {"big": 7}}\n')
    done = runner.invoke(_app(), ["eval", str(test)])
    assert done.exit_code == 2
    assert f"{test}:21: " in done.stderr
    assert "expected 0..1" in done.stderr


def test_too_few_or_no_graded_rows_need_training_files(tmp_path: Path) -> None:
    """Nothing is invented from nothing."""
    done = runner.invoke(_app(), ["eval", str(_rows(tmp_path / "few.jsonl", 4))])
    assert done.exit_code == 2
    assert "too few for cross-validation" in done.stderr
    bare = _rows(tmp_path / "bare.jsonl", 4, outcomes=False)
    done = runner.invoke(_app(), ["eval", str(bare)])
    assert done.exit_code == 2
    assert "give --train files" in done.stderr
