"""What a prompts directory becomes, and what is said about a broken one, word for word."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.catalog.loader import Overrides, load, load_all
from llmrouter.domain.catalog import Catalog
from llmrouter.errors import CatalogInvalid, Problem
from tests.catalog.prompts_dir import LARGE, ROUTER, ROUTING, SMALL, written

GOLDEN: list[tuple[str, str, list[str]]] = [
    ("small", SMALL.replace("context_window", "contxt_window"), [
        "catalog/small.md:2: `context_window` is missing",
        "catalog/small.md:7: unknown key `contxt_window`: did you mean `context_window`?",
    ]),
    ("small", SMALL.replace("input: 0.25,", "input: -1,"), [
        "catalog/small.md:6: `price.input` must be at least 0, not -1",
    ]),
    ("small", SMALL.replace("8000", "lots"), [
        "catalog/small.md:7: `context_window` must be a number, not 'lots'",
    ]),
    ("small", SMALL.replace("model: small-1\n", ""), [
        "catalog/small.md:2: `model` is missing",
    ]),
    ("small", SMALL.replace("model: small-1", "model: a\nmodel: b"), [
        "catalog/small.md:3: `model` stands here twice (first on line 2)",
    ]),
    ("small", SMALL.replace("https://", "ftp://"), [
        "catalog/small.md:4: `base_url` must start with http:// or https:// and name a host",
    ]),
    ("small", SMALL.replace("https://", "https://user:pass@"), [
        "catalog/small.md:4: `base_url` holds credentials: name a variable in `api_key_env` "
        "instead",
    ]),
    ("small", SMALL.replace("[tools]", "[tool]"), [
        "catalog/small.md:9: unknown capability `tool`: did you mean `tools`?",
    ]),
    ("small", SMALL.replace("---\nThe small", "The small"), [
        "catalog/small.md:1: the front matter is never closed: add a line `---` before the "
        "description",
    ]),
    ("small", "", [
        "catalog/small.md:1: the file is empty: open it with `---`, the settings, and `---`",
    ]),
    ("small", SMALL.replace("The small one: short and simple requests.\n", ""), [
        "catalog/small.md:12: there is no description: say below the front matter what the model "
        "is good at, what it is bad at, and when to choose it",
    ]),
    ("routing", ROUTING.replace("default: small", "default: smal"), [
        "routing.yaml:1: `default` names smal, which is no target: did you mean `small`?",
    ]),
    ("routing", ROUTING.replace("route: large", "route: larg"), [
        "routing.yaml:9: `rules[0].route` names larg, which is no target: did you mean `large`?",
    ]),
    ("routing", ROUTING.replace("{task: math}", "{matches: '(unclosed'}"), [
        "routing.yaml:8: `rules[0].when.matches` is no valid regular expression (RE2): "
        "missing ): (unclosed",
    ]),
    ("routing", ROUTING.replace("[small, large]", "[small, huge]"), [
        "routing.yaml:11: `cascade.order` names huge, no target; there are: large, small",
    ]),
    ("routing", ROUTING + "quality: 2\n", [
        "routing.yaml:12: `quality` must be between 0 and 1, not 2",
    ]),
    ("routing", ROUTING + "qualty: 1\n", [
        "routing.yaml:12: unknown key `qualty`: did you mean `quality`?",
    ]),
    ("routing", "- a\n- b\n", ["routing.yaml:1: this must be `key: value` lines"]),
    ("router", "a\nb\n{{ targts }}", [
        "router.md:3: there is no `targts` in this template: did you mean `targets`?",
    ]),
    ("verifier", "\n{{ 1 +", [
        "verifier.md:2: not a valid template: unexpected 'end of template'",
    ]),
]  # fmt: skip


def loaded(**over: str) -> Catalog:
    """The catalog of a directory that has these files; problems call the directory `p`."""
    with tempfile.TemporaryDirectory() as root:
        directory = Path(root) / "p"
        try:
            return load(written(directory, **over))
        except CatalogInvalid as invalid:
            raise CatalogInvalid(
                tuple(
                    dataclasses.replace(problem, file=relative(problem.file, root))
                    for problem in invalid.problems
                )
            ) from None


def outcome(**over: str) -> Catalog | tuple[Problem, ...]:
    """The catalog, or else the problems."""
    try:
        return loaded(**over)
    except CatalogInvalid as invalid:
        return invalid.problems


def relative(file: str, root: str) -> str:
    """A problem's file from the directory's parent on."""
    return file.removeprefix(f"{root}/")


def problems(**over: str) -> str:
    """What is wrong with a directory that has these files."""
    with pytest.raises(CatalogInvalid) as caught:
        loaded(**over)
    return str(caught.value)


@pytest.mark.parametrize(("name", "text", "expected"), GOLDEN)
def test_a_mistake_is_named_with_its_place(name: str, text: str, expected: list[str]) -> None:
    """One mistake gives the line it is on and what to write instead, and nothing besides."""
    assert problems(**{name: text}).splitlines() == [f"p/{line}" for line in expected]


def test_all_mistakes_are_reported_at_once() -> None:
    """Mistakes in several files come in one list, in file order, each with file and line."""
    said = problems(
        small=SMALL.replace("8000", "-1").replace("provider", "providr"),
        routing=ROUTING.replace("default: small", "default: nobody"),
    ).splitlines()
    assert len(said) >= 4
    assert said == sorted(said, key=lambda line: (line.split(":")[0], int(line.split(":")[1])))
    assert all(re.match(r"^p/[\w./-]+:\d+: \S", line) for line in said)


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcdefghijklmnop1234567890",
        "AIzaSyA1234567890abcdefghijklmnop",
        "sk-ant-REDACTED",
        "ghp_abcdefghijklmnopqrstuvwxyz012345",
        "0123456789abcdef0123456789abcdef",
    ],
)
def test_a_key_in_the_file_is_refused_and_not_repeated(key: str) -> None:
    """A key where a variable's name belongs is refused, and the message does not show it."""
    said = problems(small=SMALL.replace("EXAMPLE_KEY", key))
    assert "p/catalog/small.md:5: `api_key_env`" in said
    assert key not in said


@pytest.mark.parametrize("name", ["auto", "Up", "a b", "-x"])
def test_an_id_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    """File names that callers could not use as a model's name are problems."""
    (written(tmp_path) / "catalog" / f"{name}.md").write_text(LARGE)
    with pytest.raises(CatalogInvalid) as caught:
        load(tmp_path)
    assert [Path(problem.file).stem for problem in caught.value.problems] == [name]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """A missing, an empty and a half-filled directory each say what to add."""
    with pytest.raises(CatalogInvalid, match="does not exist: create it"):
        load(tmp_path / "nowhere")
    with pytest.raises(CatalogInvalid, match=r"is empty: it needs routing\.yaml"):
        load(tmp_path)
    (tmp_path / "router.md").write_text(ROUTER)
    with pytest.raises(CatalogInvalid) as caught:
        load(tmp_path)
    said = str(caught.value)
    assert "routing.yaml:1: the file is missing: create it" in said
    assert "catalog:1: there is no target: add catalog/<id>.md" in said
    (written(tmp_path) / "router.md").unlink()
    with pytest.raises(CatalogInvalid, match=r"router\.md:1: the file is missing"):
        load(tmp_path)


def test_a_file_that_is_not_text_is_a_problem(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are reported at their line."""
    directory = written(tmp_path)
    (directory / "catalog" / "small.md").write_bytes(b"---\nmodel: \xff\xfe\n---\n")
    with pytest.raises(CatalogInvalid, match=r"small\.md:2: not UTF-8"):
        load(directory)


def test_everything_in_the_files_reaches_the_catalog(tmp_path: Path) -> None:
    """Values written in the files are the values that serve."""
    catalog = load(written(tmp_path))
    small = catalog.targets["small"]
    assert (small.model, small.price.cached_input, small.max_output) == ("small-1", 0.025, 2000)
    assert small.capabilities == {"tools"}
    assert small.latency.ttft_ms == 300
    assert catalog.router is not None
    assert catalog.router.price_output == 0.4
    assert catalog.rules[0].when.task == {"math"}
    assert catalog.cascade.order == ("small", "large")


def test_overrides_move_every_address(tmp_path: Path) -> None:
    """With overrides no target, nor router, nor judge keeps its own address or key."""
    routing = ROUTING + "  judge: {model: j, base_url: 'https://j.example/v1', api_key_env: J}\n"
    routing += "learned: {encoder: 'openai:m@https://e.example/v1', api_key_env: E}\n"
    catalog = load(written(tmp_path, routing=routing), Overrides("http://127.0.0.1:1/v1"))
    learned = catalog.learned
    assert learned.encoder == "openai:m@https://e.example/v1", "the space keeps its name"
    assert (learned.encoder_url, learned.api_key_env) == ("http://127.0.0.1:1/v1", None)
    assert catalog.router is not None
    assert catalog.cascade.judge is not None
    everyone = [*catalog.targets.values(), catalog.router, catalog.cascade.judge]
    assert {one.base_url for one in everyone} == {"http://127.0.0.1:1/v1"}
    assert {one.api_key_env for one in everyone} == {None}


def test_comments_white_space_and_key_order_change_no_version() -> None:
    """The same meaning written otherwise has the same revision."""
    lines = SMALL.splitlines()
    lines[1], lines[2] = lines[2], lines[1]
    other = loaded(
        small="\n".join(lines).replace("context_window: 8000", "context_window:  8000 # tokens"),
        routing="# a comment\n\n" + ROUTING,
        router=ROUTER + "\n\n",
    )
    assert other.revision == loaded().revision


@pytest.mark.parametrize(
    ("name", "text", "which"),
    [
        ("small", SMALL.replace("8000", "9000"), "version"),
        ("small", SMALL.replace("short and", "long and"), "version"),
        ("routing", ROUTING.replace("default: small", "default: large"), "policy_version"),
        ("routing", ROUTING.replace("task: math", "task: code"), "policy_version"),
        ("router", ROUTER + "Choose well.", "prompt_version"),
    ],
)
def test_an_edit_that_matters_changes_its_version_alone(name: str, text: str, which: str) -> None:
    """Each kind of edit changes the version that covers it and no other."""
    before, after = loaded(), loaded(**{name: text})
    for version in ("version", "policy_version", "prompt_version"):
        same = getattr(before, version) == getattr(after, version)
        assert same is (version != which), version


@given(st.text(max_size=300))
def test_any_text_is_a_catalog_or_a_list_of_problems(text: str) -> None:
    """Whatever a model's file holds, parsing ends in a catalog or in problems with lines."""
    for over in ({"small": text}, {"small": f"---\n{text}\n---\nx"}, {"routing": text}):
        found = outcome(**over)
        if isinstance(found, tuple):
            assert found
            assert all(problem.line >= 1 and problem.message for problem in found)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)


@given(
    key=st.sampled_from(
        ["model", "provider", "base_url", "price", "context_window", "capabilities", "tiers",
         "latency", "timeout_s", "enabled", "max_output", "api_key_env"]
    ),
    value=st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3)
                       | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6),
)  # fmt: skip
def test_any_value_under_any_key_is_read_or_refused(key: str, value: object) -> None:
    """A value of any type under a known key is either a valid target's or a problem."""
    kept = [line for line in SMALL.splitlines() if not line.startswith(f"{key}:")]
    kept.insert(1, f"{key}: {json.dumps(value)}")
    found = outcome(small="\n".join(kept))
    if isinstance(found, tuple):
        assert found
    else:
        target = found.targets["small"]
        assert 0 <= target.price.input < math.inf
        assert target.context_window >= 1
        assert 0 < target.timeout_s < math.inf
        assert target.base_url.startswith("http")


@pytest.mark.parametrize(
    "value", [".inf", "-.inf", ".nan", "1e400", "true", "'1'", "[1]", "{a: 1}", "1:30", "0x10"]
)
def test_odd_numbers_are_refused(value: str) -> None:
    """No infinite or meaningless price gets into a catalog."""
    said = problems(small=SMALL.replace("output: 2.0", f"output: {value}"))
    assert said.startswith("p/catalog/small.md:6: `price.output` must be a number")


TAGGED = "!!python/object/apply:os.getcwd []"


def test_hostile_yaml_is_refused() -> None:
    """Python tags and anchors that multiply are problems, not objects."""
    assert "small.md:" in problems(
        small=SMALL.replace("small-1", "!!python/object/apply:os.getcwd []")
    )
    bomb = SMALL.replace("[tools]", "&a [tools]").replace("latency: {", "tiers: *a\nlatency: {")
    assert "alias" in problems(small=bomb)
    assert "small.md:" in problems(small=SMALL.replace("[tools]", "[" * 3000))


def test_a_catalogs_own_warnings_name_no_variable_and_no_place(tmp_path: Path) -> None:
    """Callers may read those; variables of keys and where files are is told to the operator."""
    loaded = load_all(written(tmp_path), environ={})
    assert any("EXAMPLE_KEY" in warning.message for warning in loaded.warnings)
    assert loaded.catalog.warnings
    assert "EXAMPLE_KEY" not in "".join(loaded.catalog.warnings)
    assert str(loaded.warnings[0]).startswith(f"{tmp_path}/catalog/")
    assert all(warning.startswith("catalog/") for warning in loaded.catalog.warnings)


def test_an_edit_may_add_replace_and_take_away(tmp_path: Path) -> None:
    """Without touching the disk; what still names a target that is gone is a problem."""
    directory = written(tmp_path)
    small = SMALL.replace("8000", "9000")
    edited = load(directory, edits={"catalog/small.md": small, "catalog/new.md": LARGE})
    assert sorted(edited.targets) == ["large", "new", "small"]
    assert edited.targets["small"].context_window == 9000
    assert "new" not in load(directory).targets
    with pytest.raises(CatalogInvalid) as refused:
        load(directory, edits={"catalog/large.md": None})
    assert all("large" in problem.message for problem in refused.value.problems)
    assert "small" in load(directory, edits={"verifier.md": None}).targets


EMBEDDED = Overrides(embedded={"tiny": "http://127.0.0.1:1/v1"})


def test_running_embedded_models_enable_their_targets(tmp_path: Path) -> None:
    """A target of a running embedded model is enabled and reached there; others stay the same."""
    directory = written(tmp_path)
    local = SMALL.replace("small-1", "tiny").replace("provider: openai", "provider: embedded")
    local = local.replace("api_key_env: EXAMPLE_KEY", "enabled: false")
    (directory / "catalog" / "local.md").write_text(local)
    before, after = load(directory), load(directory, EMBEDDED)
    assert not before.targets["local"].enabled
    assert after.targets["local"].enabled
    assert after.targets["local"].base_url == "http://127.0.0.1:1/v1"
    assert [after.targets[name] for name in ("large", "small")] == [
        before.targets[name] for name in ("large", "small")
    ]


@pytest.mark.parametrize(
    ("key", "base_url"), [("", "http://127.0.0.1:1/v1"), ("set", "https://api.example.com/v1")]
)
def test_an_embedded_model_judges_where_the_router_llm_has_no_key(
    tmp_path: Path, key: str, base_url: str
) -> None:
    """The configured router LLM takes over as soon as its key is there."""
    routing = ROUTING.replace("  model: tiny\n", "  model: tiny\n  api_key_env: ROUTER_KEY\n")
    loaded_all = load_all(written(tmp_path, routing=routing), EMBEDDED, environ={"ROUTER_KEY": key})
    assert loaded_all.catalog.router is not None
    assert loaded_all.catalog.router.base_url == base_url
