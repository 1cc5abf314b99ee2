"""The deployment files, held against real validators."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
MANIFESTS = ("deployment.yaml", "service.yaml", "scaling.yaml")


def tool(name: str) -> str:
    """The validator's path; its absence skips here and fails under CI."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


def documents(path: Path) -> list[dict[str, Any]]:
    """Every document of a YAML file."""
    return [d for d in yaml.safe_load_all(path.read_text()) if d]


def test_hadolint_accepts_the_dockerfile() -> None:
    """hadolint finds nothing in the Dockerfile, warnings included."""
    done = subprocess.run(
        [tool("hadolint"), str(DEPLOY / "Dockerfile")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_fit_the_schemas_of_kubernetes(name: str) -> None:
    """Each manifest fits the strict schema of its kind."""
    done = subprocess.run(
        [tool("kubernetes-validate"), "--strict", "-k", "1.31", str(DEPLOY / "k8s" / name)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_misspelt_manifest_is_refused(tmp_path: Path) -> None:
    """The validator really looks: an unknown field fails."""
    wrong = (DEPLOY / "k8s" / "service.yaml").read_text().replace("selector:", "selectr:")
    file = tmp_path / "service.yaml"
    file.write_text(wrong)
    done = subprocess.run(
        [tool("kubernetes-validate"), "--strict", "-k", "1.31", str(file)], capture_output=True
    )
    assert done.returncode != 0


def test_compose_fits_the_compose_specification() -> None:
    """compose.yaml parses as a compose specification, with the three services."""
    try:
        from compose_spec import ComposeSpecification
    except ImportError:
        if os.environ.get("CI"):
            pytest.fail("compose-spec is not installed")
        pytest.skip("compose-spec is not installed")
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    parsed = ComposeSpecification.model_validate(document)
    assert set(parsed.services or {}) == {"router", "collector", "jaeger"}


def test_the_deployment_probes_what_the_service_answers() -> None:
    """Startup and readiness ask /readyz, liveness asks /healthz, all on the served port."""
    (deployment,) = documents(DEPLOY / "k8s" / "deployment.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    probes = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in
              ("startup", "readiness", "liveness")}  # fmt: skip
    assert probes == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/healthz"}
    assert container["ports"][0]["containerPort"] == 8080


def test_every_prompt_file_is_in_a_config_map() -> None:
    """The kustomization names every catalog file there is, and only those."""
    (kustomization,) = documents(DEPLOY / "k8s" / "kustomization.yaml")
    named = {
        (DEPLOY / "k8s" / file).resolve()
        for generator in kustomization["configMapGenerator"]
        for file in generator["files"]
    }
    prompts = DEPLOY.parent / "prompts"
    there = {*prompts.glob("catalog/*.md"), *prompts.glob("*.md"), prompts / "routing.yaml"}
    assert named == {path.resolve() for path in there}


@pytest.mark.parametrize("name", ["collector.yaml", "jaeger.yaml"])
def test_pipelines_name_components_that_are_defined(name: str) -> None:
    """A pipeline of the collector or of Jaeger uses only what its file defines."""
    (config,) = documents(DEPLOY / "otel" / name)
    for pipeline in config["service"]["pipelines"].values():
        for kind, used in pipeline.items():
            assert set(used) <= set(config[kind]), f"{kind} of {pipeline}"
    assert set(config["service"].get("extensions", ())) <= set(config.get("extensions", {}))
