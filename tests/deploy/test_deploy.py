"""The deployment files, held against real validators."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
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


def compose_problem(text: str) -> str:
    """Why a compose file does not fit the specification; empty where it does."""
    try:
        from compose_spec import PyCompose
    except ImportError:
        if os.environ.get("CI"):
            pytest.fail("compose-spec is not installed")
        pytest.skip("compose-spec is not installed")
    try:
        PyCompose.from_yaml(text)
    except ValueError as error:
        return str(error)
    return ""


def test_compose_fits_the_compose_specification() -> None:
    """compose.yaml is a compose specification; with a misspelt key or value it would not be."""
    text = (DEPLOY / "compose.yaml").read_text()
    assert compose_problem(text) == ""
    for right, wrong in (
        ("stop_grace_period", "stop_grace_perod"),
        ("unless-stopped", "sometimes"),
        ("127.0.0.1:8080:8080", "127.0.0.1:http:8080"),
    ):
        assert right in text
        assert compose_problem(text.replace(right, wrong))


def test_compose_has_its_services_and_asks_for_keys() -> None:
    """Router, collector and Jaeger; without LLMROUTER_API_KEYS compose refuses to start."""
    (compose,) = documents(DEPLOY / "compose.yaml")
    assert set(compose["services"]) == {"router", "collector", "jaeger"}
    router = compose["services"]["router"]
    assert router["environment"]["LLMROUTER_API_KEYS"].startswith("${LLMROUTER_API_KEYS:?")
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists()
            assert source.startswith(".") or source in compose["volumes"]
        for address in service.get("ports", ()):
            assert address.startswith("127.0.0.1:")


def test_the_deployment_takes_keys_from_a_secret() -> None:
    """The API keys are required and come from a secret; no key stands in a manifest."""
    (deployment,) = documents(DEPLOY / "k8s" / "deployment.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable for variable in container["env"]}
    required = variables["LLMROUTER_API_KEYS"]["valueFrom"]["secretKeyRef"]
    assert not required.get("optional")
    for name, variable in variables.items():
        if name.endswith("_KEY"):
            assert variable["valueFrom"]["secretKeyRef"]["optional"]


def test_every_providers_key_reaches_the_service() -> None:
    """Each `api_key_env` of the shipped catalog is passed on by compose and by the Deployment."""
    wanted = set(re.findall(r"^ *api_key_env: (\w+)", catalog_text(), re.MULTILINE))
    (compose,) = documents(DEPLOY / "compose.yaml")
    (deployment,) = documents(DEPLOY / "k8s" / "deployment.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert wanted
    assert wanted <= set(compose["services"]["router"]["environment"])
    assert wanted <= {variable["name"] for variable in container["env"]}


def catalog_text() -> str:
    """All shipped prompt files in one text."""
    prompts = DEPLOY.parent / "prompts"
    files = [*prompts.glob("catalog/*.md"), prompts / "routing.yaml"]
    return "\n".join(path.read_text() for path in files)


def test_kubernetes_sets_none_of_the_services_variables() -> None:
    """A Service called llmrouter would have it set LLMROUTER_PORT to tcp://…, which is no port."""
    (deployment,) = documents(DEPLOY / "k8s" / "deployment.yaml")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["enableServiceLinks"] is False


def test_the_pod_runs_as_nobody_in_particular() -> None:
    """Not root, no privileges to gain, a root file system that cannot be written."""
    (deployment,) = documents(DEPLOY / "k8s" / "deployment.yaml")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    user = re.search(r"^USER (\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    assert int(user.group(1)) == pod["securityContext"]["runAsUser"]
    leaving = {v["name"]: v.get("value") for v in container["env"]}
    spent = float(leaving["LLMROUTER_LEAVE_S"]) + float(leaving["LLMROUTER_DRAIN_S"])
    assert spent < pod["terminationGracePeriodSeconds"]


def test_kustomize_renders_manifests_that_fit(tmp_path: Path) -> None:
    """What kubectl would apply, config maps of the prompts included, fits the strict schemas."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")  # no package of it for Python
    done = subprocess.run(
        [kubectl, "kustomize", "--load-restrictor", "LoadRestrictionsNone", str(DEPLOY / "k8s")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rendered = [d for d in yaml.safe_load_all(done.stdout) if d]
    maps = {
        d["metadata"]["name"].rsplit("-", 1)[0]: d for d in rendered if d["kind"] == "ConfigMap"
    }
    assert set(maps) == {"llmrouter-prompts", "llmrouter-catalog"}
    assert set(maps["llmrouter-prompts"]["data"]) == {"router.md", "verifier.md", "routing.yaml"}
    (deployment,) = [d for d in rendered if d["kind"] == "Deployment"]
    mounted = {
        volume["configMap"]["name"]
        for volume in deployment["spec"]["template"]["spec"]["volumes"]
        if "configMap" in volume
    }
    assert mounted == {d["metadata"]["name"] for d in maps.values()}
    files = [tmp_path / f"{number}.yaml" for number in range(len(rendered))]
    for file, document in zip(files, rendered, strict=True):
        file.write_text(yaml.safe_dump(document))
    checked = subprocess.run(
        [tool("kubernetes-validate"), "--strict", "-k", "1.31", *map(str, files)],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


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


def test_addresses_agree_between_the_files() -> None:
    """The router exports to where the collector listens, and that one to where Jaeger listens."""
    (compose,) = documents(DEPLOY / "compose.yaml")
    (collector,) = documents(DEPLOY / "otel" / "collector.yaml")
    (jaeger,) = documents(DEPLOY / "otel" / "jaeger.yaml")
    exported = compose["services"]["router"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    heard = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert exported == f"http://collector:{heard.rpartition(':')[2]}"
    forwarded = collector["exporters"]["otlp_grpc/jaeger"]["endpoint"]
    taken = jaeger["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]
    assert forwarded == f"jaeger:{taken.rpartition(':')[2]}"


def image() -> tuple[dict[str, str], list[str], list[str]]:
    """The image's environment, its health check's command and its start command."""
    text = re.sub(r"\\\n\s*", " ", (DEPLOY / "Dockerfile").read_text().rpartition("\nFROM ")[2])
    environment = dict(
        pair.split("=", 1)
        for line in re.findall(r"^ENV (.*)$", text, re.MULTILINE)
        for pair in line.split()
    )
    check = re.search(r"^HEALTHCHECK .*?CMD (\[.*\])$", text, re.MULTILINE)
    entry, command = (
        re.search(rf"^{word} (\[.*\])$", text, re.MULTILINE) for word in ("ENTRYPOINT", "CMD")
    )
    assert check is not None
    assert entry is not None
    assert command is not None
    start = [*json.loads(entry.group(1)), *json.loads(command.group(1))]
    return environment, json.loads(check.group(1)), start


def test_the_image_starts_with_keys_alone_and_its_health_check_passes(tmp_path: Path) -> None:
    """In the image's environment the service refuses to start without keys, and runs with them."""
    environment, check, start = image()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LLMROUTER_", "OTEL_"))}
    environment = {
        **clean,
        **environment,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LLMROUTER_PORT": str(port),
        "LLMROUTER_PROMPTS": str(DEPLOY.parent / "prompts"),
        "LLMROUTER_STORE": f"disk:{tmp_path / 'store'}",
    }
    keyless = subprocess.run(
        start, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert keyless.returncode != 0
    assert "LLMROUTER_API_KEYS" in keyless.stderr
    keyed = {**environment, "LLMROUTER_API_KEYS": "me:change-me-please-0123456789"}
    with subprocess.Popen(
        start, env=keyed, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        try:
            for _ in range(600):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0 or running.poll() is not None:
                        break
                time.sleep(0.1)
            checked = subprocess.run(check, env=keyed, capture_output=True, timeout=30)
            assert checked.returncode == 0, checked.stderr.decode()
        finally:
            running.terminate()
            assert running.wait(timeout=30) == 0
    assert subprocess.run(check, env=keyed, capture_output=True, timeout=30).returncode != 0
