"""Settings from the environment or `.env`. Only bootstrap and cli read them."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every `LLMROUTER_*` variable. OpenTelemetry's own `OTEL_*` are read by its SDK."""

    model_config = SettingsConfigDict(
        env_prefix="LLMROUTER_", env_file=".env", env_file_encoding="utf-8", extra="ignore"
    )

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=64)
    prompts: Path = Path("prompts")
    store: str = "disk:.llmrouter"
    api_keys: SecretStr = SecretStr("")
    admin_key: SecretStr = SecretStr("")
    key_limits: str = ""
    isolate_tenants: bool = False
    max_body_mb: float = Field(10.0, gt=0)
    max_in_flight: int = Field(2048, ge=1)
    target_concurrency: int = Field(1024, ge=1)
    cache_ttl_s: float = Field(86_400.0, gt=0)
    record_prompts: bool = False
    drain_s: float = Field(30.0, ge=0)
    leave_s: float = Field(0.0, ge=0)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
