"""The running service against its own OpenAPI document: whatever is sent, it answers as documented.

Every operation gets requests made from its schema, and requests made to break it. A status or a
body that the document does not know is a failure, and so is a 500: it stands for a defect.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.served import Process, process

ADMIN = "admin-key-0123456789"
EXAMPLES = 60  # of each kind for each operation
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service before the simulator, with an admin key and small bodies."""
    directory = tmp_path_factory.mktemp("fuzzed")
    limits = {"LLMROUTER_MAX_BODY_MB": "0.1", "LLMROUTER_LOG_LEVEL": "INFO"}
    with process(directory, "demo", LLMROUTER_ADMIN_KEY=ADMIN, **limits) as started:
        yield started


def operations(base: str) -> list[Any]:
    """Every documented call."""
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_a_documented_one(served: Process, mode: GenerationMode) -> None:
    """Statuses, content types and bodies; and the service is as well afterwards as before."""
    known = operations(served.base)
    assert len(known) >= 15
    answered: set[int] = set()

    def check(operation: Any) -> None:
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def fuzz(case: Any) -> None:
            headers = {"Authorization": f"Bearer {ADMIN}"}
            response = case.call(base_url=served.base, headers=headers, timeout=30)
            answered.add(response.status_code)
            assert response.status_code != 500, f"{case.method} {case.path}: {response.text[:500]}"
            case.validate_response(response, checks=CHECKS)

        fuzz()

    fuzzed = 0
    for operation in known:
        with contextlib.suppress(Unsatisfiable):  # a call without parameters cannot be made wrong
            check(operation)
            fuzzed += 1
    assert fuzzed >= (len(known) if mode is GenerationMode.POSITIVE else 6)
    assert (200 if mode is GenerationMode.POSITIVE else 400) in answered
    log = Path(served.log).read_text()
    assert "Traceback" not in log, log[-3000:]
    assert served.popen.poll() is None
