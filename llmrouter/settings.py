"""Settings from the environment or `.env`. Only bootstrap and cli read them.

Keys of providers and OpenTelemetry's own variables are not settings of this class; they are read
from the environment. `environment.load_env` loads `.env` into it, so one file holds everything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from llmrouter.shipped import default_prompts


class Settings(BaseSettings):
    """Every `LLMROUTER_*` variable. OpenTelemetry's own `OTEL_*` are read by its SDK."""

    model_config = SettingsConfigDict(
        env_prefix="LLMROUTER_", env_file=".env", env_file_encoding="utf-8", extra="ignore"
    )

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=64)
    prompts: Path = Field(default_factory=default_prompts)
    store: str = Field("disk:.llmrouter", repr=False)  # an address may hold a password
    api_keys: SecretStr = SecretStr("")
    admin_key: SecretStr = SecretStr("")
    key_limits: str = ""
    isolate_tenants: bool = False
    max_body_mb: float = Field(10.0, gt=0)
    max_in_flight: int = Field(2048, ge=1)
    target_concurrency: int = Field(1024, ge=1)
    cache_ttl_s: float = Field(86_400.0, gt=0)
    record_prompts: bool = False
    answer_model: Literal["auto", "asked", "upstream"] = "auto"
    fastpath: bool = True
    max_messages: int = Field(10_000, ge=1)
    max_parts: int = Field(10_000, ge=1)
    max_tools: int = Field(2_000, ge=1)
    max_json_values: int = Field(100_000, ge=1)
    max_json_depth: int = Field(100, ge=2, le=200)
    header_timeout_s: float = Field(10.0, gt=0)
    idle_timeout_s: float = Field(75.0, gt=0)
    body_timeout_s: float = Field(120.0, gt=0)
    hosts: str = ""
    cors_origins: str = ""
    base_path: str = Field("", pattern=r"^(/?|(/[A-Za-z0-9._~-]+)+/?)$")
    public_details: bool = False
    catalog_keys: str = ""
    catalog_hosts: str = ""
    catalog_files: Path | None = None
    drain_s: float = Field(30.0, ge=0)
    leave_s: float = Field(0.0, ge=0)


def explained(error: ValidationError) -> str:
    """What is wrong with which variable, a line each."""
    return "\n".join(
        f"LLMROUTER_{'_'.join(map(str, one['loc'])).upper()}: {one['input']!r} cannot be it: "
        + one["msg"][0].lower()
        + one["msg"][1:]
        for one in error.errors(include_url=False)
    )


_NOT_SETTINGS = (
    "LOG_LEVEL",
    "DEMO_UPSTREAM",
    "METRICS_DIR",
    "EMBEDDED_UPSTREAMS",
    "ACCEPT_GEMMA_TERMS",
)
"""Other variables that start with `LLMROUTER_`."""


def unknown(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Variables that look like settings and are none: a misspelt API_KEYS leaves a door open."""
    known = [*(name.upper() for name in Settings.model_fields), *_NOT_SETTINGS]
    found = []
    for name in sorted(environ):
        prefix, _, rest = name.upper().partition("_")
        if prefix == "LLMROUTER" and rest not in known:
            near = get_close_matches(rest, known, 1)
            found.append(
                f"there is no setting {name}" + (f"; is it LLMROUTER_{near[0]}?" if near else "")
            )
    return found


def listed(text: str) -> list[str]:
    """The items of a setting that is a list with commas."""
    return [one.strip() for one in text.split(",") if one.strip()]


def base_of(path: str) -> str:
    """A base path as it stands before every path: "" for none, else `/llm`."""
    return path.rstrip("/")
