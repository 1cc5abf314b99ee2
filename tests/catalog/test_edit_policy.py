"""Tests of what an edit over HTTP may have the service read and reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmrouter.catalog.edit_policy import EditPolicy, key_patterns
from llmrouter.catalog.loader import load
from llmrouter.errors import CatalogInvalid
from llmrouter.util.addresses import address_policy
from tests.catalog.prompts_dir import ROUTING, SMALL, written

STRICT = EditPolicy()
URL, KEY = "base_url: https://api.example.com/v1", "api_key_env: EXAMPLE_KEY"
OPEN = SMALL.replace(KEY, "auth: none")
LINE = "max_output: 2000"


def problems(directory: Path, policy: EditPolicy = STRICT, **edited: str) -> list[str]:
    """What is wrong with edited files (`small`, `new`, `routing`), each as `file:line: message`."""
    paths = {"routing": "routing.yaml"}
    edits = {paths.get(name, f"catalog/{name}.md"): text for name, text in edited.items()}
    try:
        load(directory, None, edits, policy)
    except CatalogInvalid as invalid:
        return [str(one.inside(directory)) for one in invalid.problems]
    return []


SECRETS = {
    "another variable": (SMALL.replace("EXAMPLE_KEY", "AWS_SECRET_ACCESS_KEY"), 5, "AWS_SECRET"),
    "the variable elsewhere": (SMALL.replace("api.example.com", "evil.example"), 5, "EXAMPLE_KEY"),
    "the variable in the open": (SMALL.replace("https:", "http:"), 5, "EXAMPLE_KEY"),
    "the variable at another port": (SMALL.replace(".com/", ".com:8443/"), 5, "EXAMPLE_KEY"),
    "a further endpoint": (
        SMALL.replace(LINE, "endpoints: [{base_url: 'https://evil.example/v1'}]"),
        5,
        "https://evil.example",
    ),
    "a key file": (SMALL.replace(KEY, "api_key_file: /etc/shadow"), 5, "CATALOG_FILES"),
    "certificates": (SMALL.replace(LINE, "ca: /etc/ssl/other.pem"), 8, "CATALOG_FILES"),
    "Google's token": (SMALL.replace(KEY, "auth: google"), 5, "googleapis.com"),
    "a signature of AWS": (SMALL.replace(KEY, "auth: aws"), 5, "amazonaws.com"),
}


@pytest.mark.parametrize("case", SECRETS)
def test_an_edit_uses_no_secret_that_the_files_do_not_use_there(tmp_path: Path, case: str) -> None:
    """A target's file, old or new: each refusal has the line, and what the operator may do."""
    text, line, said = SECRETS[case]
    written(tmp_path)
    for name in ("small", "new"):
        found = problems(tmp_path, **{name: text})
        assert len(found) == 1
        assert found[0].startswith(f"catalog/{name}.md:{line}: ")
        assert said in found[0]
        assert "edit the file on disk" in found[0]


ADDRESSES = {
    "base_url": SMALL.replace(URL, "base_url: http://169.254.169.254/v1").replace(
        KEY, "auth: none"
    ),
    "decimal": OPEN.replace(URL, "base_url: http://2852039166/v1"),
    "endpoint": OPEN.replace(LINE, "endpoints: [{base_url: 'http://[::ffff:a9fe:a9fe]/v1'}]"),
    "proxy": SMALL.replace(LINE, "proxy: http://metadata.google.internal:80"),
}


@pytest.mark.parametrize("case", ADDRESSES)
def test_an_edit_reaches_no_metadata_address(tmp_path: Path, case: str) -> None:
    """In `base_url`, `endpoints` and `proxy`; the setting that allows a host is named."""
    written(tmp_path)
    (found,) = problems(tmp_path, new=ADDRESSES[case])
    assert "LLMROUTER_CATALOG_HOSTS" in found
    hosts = address_policy(["169.254.169.254", "metadata.google.internal"])
    assert problems(tmp_path, EditPolicy(addresses=hosts), new=ADDRESSES[case]) == []


POLICIES = {
    "router's address": (ROUTING.replace("https://api.example.com", "http://169.254.1.1"), 4),
    "router's key": (ROUTING.replace("  price:", "  api_key_env: OTHER\n  price:"), 5),
    "judge's key": (
        f"{ROUTING}  judge: {{model: j, base_url: 'https://j.ai/v1', api_key_env: EXAMPLE_KEY}}\n",
        12,
    ),
    "encoder's address": (f"{ROUTING}learned: {{encoder: 'openai:m@http://169.254.1.1/v1'}}\n", 12),
    "encoder's key": (
        f"{ROUTING}learned:\n  encoder: openai:m@https://e.ai/v1\n  api_key_env: EXAMPLE_KEY\n",
        14,
    ),
    "encoder's folder": (f"{ROUTING}learned: {{encoder: 'local:/srv/models'}}\n", 12),
    "code": (f"{ROUTING}  accept: {{checks: [{{python: 'os:getcwd'}}]}}\n", 12),
}


@pytest.mark.parametrize("case", POLICIES)
def test_routing_yaml_is_held_to_the_same(tmp_path: Path, case: str) -> None:
    """The router LLM, the judge, the encoder, and checks that are code."""
    written(tmp_path)
    text, line = POLICIES[case]
    found = problems(tmp_path, routing=text)
    assert len(found) == 1
    assert found[0].startswith("routing.yaml:")
    assert "an edit over HTTP may not" in found[0]
    assert found[0].split(":")[1] == str(line)


def test_an_edit_keeps_what_the_operator_wrote(tmp_path: Path) -> None:
    """Link-local, key files and code on disk stay, and a new target may use a key where it goes."""
    routing = f"{ROUTING}  accept: {{checks: [{{python: 'os:getcwd'}}]}}\n"
    local = SMALL.replace(URL, "base_url: http://169.254.7.7/v1").replace(KEY, "api_key_file: /k")
    written(tmp_path, small=local, routing=routing)
    assert problems(tmp_path, small=local.replace("8000", "9000")) == []
    assert problems(tmp_path, routing=routing.replace("math", "code")) == []
    assert problems(tmp_path, new=SMALL.replace("small-1", "new-1")) == []
    assert problems(tmp_path, small=local.replace("/v1", "/v2")) != []  # not that path's address


def test_what_settings_list_is_allowed(tmp_path: Path) -> None:
    """Variables by name and pattern, at any address; files in the folder, and none beside it."""
    written(tmp_path)
    keys = key_patterns(["GROQ_API_KEY", "TEAM_*", "AWS_SECRET_ACCESS_KEY"])
    files = tmp_path / "secrets"
    policy = EditPolicy(keys, files=files)
    elsewhere = SMALL.replace("api.example.com", "models.example")
    for name in ("GROQ_API_KEY", "TEAM_A", "AWS_SECRET_ACCESS_KEY"):
        assert problems(tmp_path, policy, new=elsewhere.replace("EXAMPLE_KEY", name)) == []
    for name in ("GROQ_API_KEY2", "XTEAM_A", "EXAMPLE_KEY"):
        assert problems(tmp_path, policy, new=elsewhere.replace("EXAMPLE_KEY", name)) != []
    assert problems(tmp_path, policy, new=elsewhere.replace(KEY, "auth: aws")) == []
    bedrock = SMALL.replace("api.example.com", "bedrock-runtime.eu-west-1.amazonaws.com")
    assert problems(tmp_path, new=bedrock.replace(KEY, "auth: aws")) == []
    for path, fine in ((files / "k", True), (f"{files}/../k", False), ("k", False), ("/k", False)):
        text = SMALL.replace(KEY, f"api_key_file: {path}")
        assert (problems(tmp_path, policy, new=text) == []) is fine
    with pytest.raises(ValueError, match="no name of a variable"):
        key_patterns(["sk-123/"])


def test_files_on_disk_are_the_operators(tmp_path: Path) -> None:
    """Without a policy nothing is refused; a metadata address is warned of."""
    odd = SMALL.replace(URL, "base_url: http://169.254.169.254/v1").replace(
        KEY, "api_key_env: PATH"
    )
    written(tmp_path, small=odd)
    assert any("metadata" in warning for warning in load(tmp_path).warnings)


@pytest.mark.parametrize("host", ["%31%36%39.254.169.254", "a\\\\b", "a_b,c", "a;b"])
def test_hosts_with_escapes_are_no_hosts(tmp_path: Path, host: str) -> None:
    """Parsers disagree about them, so none of them is asked."""
    written(tmp_path)
    for text in (
        SMALL.replace("https://api.example.com", f'"http://{host}').replace("/v1", '/v1"'),
        SMALL.replace(LINE, f'proxy: "http://{host}"'),
    ):
        assert problems(tmp_path, EditPolicy(key_patterns(["*"])), small=text)
