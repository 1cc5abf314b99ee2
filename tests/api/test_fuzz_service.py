"""The running service against its own OpenAPI document: whatever is sent, it answers as documented.

Every operation gets requests made from its schema, and requests made to break it. A status or a
body that the document does not know is a failure, and so is a 500: it stands for a defect.
"""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.samples import THOROUGH, examples
from tests.served import Process, process

ADMIN = "admin-key-0123456789"
EXAMPLES = examples(40)  # of each kind for each operation
COSTLY = {"/catalog/preview": 4 if THOROUGH else 1}  # a process each
DEEP = {"/route", "/complete", "/v1/chat/completions"}  # must get to an answer, not to a refusal
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


def aim(case: Any, name: str) -> None:
    """Name what exists in a valid request: made-up names would all end in the same 404."""
    body = case.body
    if case.method == "GET" and "id" in (case.path_parameters or {}):
        case.path_parameters["id"] = name
    if not isinstance(body, dict) or case.path not in DEEP:
        return
    if "model" in body:
        body["model"] = name
    if isinstance(router := body.get("router"), dict):
        for key in ("allow", "deny"):
            if router.get(key):
                router[key] = [name]
        router.pop("decision_id", None)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_a_documented_one(served: Process, mode: GenerationMode) -> None:
    """Statuses, content types and bodies; and the service is as well afterwards as before."""
    known = operations(served.base)
    # A key that the fuzzing makes closes the service to callers without one.
    models = urllib.request.Request(  # noqa: S310 - our own server
        f"{served.base}/v1/models", headers={"Authorization": f"Bearer {ADMIN}"}
    )
    with urllib.request.urlopen(models) as answer:  # noqa: S310 - our own server
        names = [model["id"] for model in json.load(answer)["data"] if model["id"] != "auto"]
    assert len(known) >= 15
    answered: set[int] = set()

    def check(operation: Any) -> None:
        statuses: set[int] = set()

        @settings(
            max_examples=COSTLY.get(operation.path, 20 if operation.path in DEEP else EXAMPLES),
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(
            case=operation.as_strategy(generation_mode=mode),
            name=st.sampled_from(("auto", *names)),
        )
        def fuzz(case: Any, name: str) -> None:
            if mode is GenerationMode.POSITIVE:
                aim(case, name)
            headers = {"Authorization": f"Bearer {ADMIN}"}
            response = case.call(base_url=served.base, headers=headers, timeout=30)
            statuses.add(response.status_code)
            assert response.status_code != 500, f"{case.method} {case.path}: {response.text[:500]}"
            case.validate_response(response, checks=CHECKS)

        fuzz()
        answered.update(statuses)
        if mode is GenerationMode.POSITIVE and operation.path in DEEP:
            assert 200 in statuses, f"{operation.path} never got further than {statuses}"

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
