"""The embedded model as tests start it: skipped where it is not installed, required in CI."""

from __future__ import annotations

import os

import pytest

from llmrouter.embedded.models import EmbeddedModel, EmbeddedUnavailable, installed


def required_models() -> list[EmbeddedModel]:
    """The installed models. Skips the test where there are none, except in CI."""
    try:
        return installed({})
    except EmbeddedUnavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(error.message)
