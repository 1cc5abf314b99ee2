"""AWS signatures and Google tokens, made by their vendors' libraries and checked here."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from llmrouter.errors import UpstreamFailure
from llmrouter.upstream.cloud_credentials import AwsSigner, GoogleSigner, place_of

URL = "https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1/chat/completions"


@pytest.fixture
def aws_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up keys in the variables that AWS tools read."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")


async def test_an_aws_signature_holds_for_the_request_that_is_sent(aws_keys: None) -> None:
    """The signature, computed again from AWS's description of version 4, is the same."""
    body = b'{"model":"m"}'
    sent = await AwsSigner().headers(URL, {"Content-Type": "application/json"}, body)
    scheme, _, fields = sent["Authorization"].partition(" ")
    parts = dict(part.strip().split("=", 1) for part in fields.split(","))
    assert scheme == "AWS4-HMAC-SHA256"
    assert sent["X-Amz-Security-Token"] == "session"
    access, *scope = parts["Credential"].split("/")
    assert access == "AKIDEXAMPLE"
    assert scope[1:] == ["eu-central-1", "bedrock", "aws4_request"]
    everything = {name.lower(): value for name, value in sent.items()}
    everything |= {"host": urlsplit(URL).netloc, "content-type": "application/json"}
    names = parts["SignedHeaders"].split(";")
    lines = "".join(f"{name}:{everything[name]}\n" for name in names)
    digest = hashlib.sha256(body).hexdigest()
    canonical = "\n".join(["POST", urlsplit(URL).path, "", lines, parts["SignedHeaders"], digest])
    to_sign = "\n".join(
        [
            scheme,
            sent["X-Amz-Date"],
            "/".join(scope),
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = b"AWS4secret"
    for part in scope:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    assert parts["Signature"] == hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()


async def test_without_aws_credentials_the_target_is_misconfigured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The message says what is missing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(UpstreamFailure, match="botocore finds no credentials"):
        await AwsSigner().headers(URL, {}, b"{}")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (URL, ("bedrock", "eu-central-1")),
        ("http://127.0.0.1:1/v1", ("bedrock", "us-east-1")),
    ],
)
def test_service_and_region_are_read_from_the_host(url: str, place: tuple[str, str]) -> None:
    """Bedrock's hosts name the region; anything else is signed for the first one."""
    assert place_of(url) == place


@pytest.fixture
async def token_server() -> AsyncIterator[tuple[str, list[str]]]:
    """Google's token endpoint: a new token for each grant, with the grants it was given."""
    grants: list[str] = []

    async def token(request: web.Request) -> web.Response:
        grants.append(str((await request.post())["grant_type"]))
        return web.json_response(
            {"access_token": f"token-{len(grants)}", "expires_in": 3600, "token_type": "Bearer"}
        )

    app = web.Application()
    app.router.add_post("/token", token)
    async with TestServer(app) as server:
        yield str(server.make_url("/token")), grants


async def test_a_google_token_is_fetched_once_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token_server: tuple[str, list[str]]
) -> None:
    """A service account's key is traded for a token that serves until shortly before its end."""
    uri, grants = token_server
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "a@p.example",
        "token_uri": uri,
    }
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    signer = GoogleSigner()
    first = await signer.headers(URL, {}, b"")
    second = await signer.headers(URL, {}, b"")
    assert first == second == {"Authorization": "Bearer token-1"}
    assert grants == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
