"""Three replicas: the Kubernetes component and the compose file."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from agent.platform.settings import Settings
from tests.deploy.deployment import COMPOSE, DEPLOY, KUBERNETES, containers, manifest

FILE = DEPLOY / "compose.replicas.yaml"
REPLICAS: dict[str, Any] = yaml.safe_load(FILE.read_text())
KEY_SETTINGS = {"ASSURE_AGENT_STATE_URL", "ASSURE_AGENT_KEY_FILE", "ASSURE_AGENT_STATE_DIR"}


def spec() -> dict[str, Any]:
    """The pod of the Deployment."""
    found: dict[str, Any] = manifest("Deployment")["spec"]["template"]["spec"]
    return found


def component_settings() -> dict[str, str | None]:
    """The settings that the component changes. None removes one."""
    component = yaml.safe_load((KUBERNETES / "replicas" / "kustomization.yaml").read_text())
    patches = [yaml.safe_load(one["patch"]) for one in component["patches"]]
    (found,) = (one["data"] for one in patches if isinstance(one, dict) and "data" in one)
    settings: dict[str, str | None] = found
    return settings


def test_a_rolling_update_leaves_replicas_that_work() -> None:
    deployment = manifest("Deployment")["spec"]
    assert deployment["replicas"] == 3
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 1
    assert manifest("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels == manifest("Service")["spec"]["selector"]
    (spread,) = spec()["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == labels
    assert spec()["terminationGracePeriodSeconds"] > 20


def test_the_container_differs_from_that_of_the_only_agent_by_its_mounts_alone() -> None:
    (replica,) = spec()["containers"]
    only = containers()["agent"]
    assert {name: replica[name] for name in replica if name != "volumeMounts"} == {
        name: only[name] for name in only if name != "volumeMounts"
    }
    pod = manifest("StatefulSet")["spec"]["template"]["spec"]
    assert spec()["securityContext"] == pod["securityContext"]
    assert spec()["automountServiceAccountToken"] is False


def test_each_file_of_a_setting_is_in_a_mounted_secret_or_volume() -> None:
    mounts = {one["mountPath"]: one["name"] for one in spec()["containers"][0]["volumeMounts"]}
    volumes = {one["name"]: one for one in spec()["volumes"]}
    assert set(mounts.values()) == set(volumes)
    for name, value in component_settings().items():
        if value is not None and value.startswith("/"):
            path = Path(value)
            folder = str(path if name.endswith("_DIR") else path.parent)
            volume = volumes[mounts[folder]]
            if "secret" in volume:
                assert path.name in manifest("Secret", volume["secret"]["secretName"])["stringData"], name


def test_the_settings_of_the_replicas_are_valid() -> None:
    """[I7] One key for all, and no two sources. Each copy of a folder would be a source of its own."""
    base: dict[str, str | None] = dict(manifest("ConfigMap")["data"])
    changed = component_settings()
    given = {name: value for name, value in (base | changed).items() if value is not None}
    settings = Settings(**{name.removeprefix("ASSURE_AGENT_").lower(): value for name, value in given.items()})
    assert settings.uses_database
    assert settings.source_url
    assert changed["ASSURE_AGENT_SPECS_DIR"] is None
    assert set(given) >= KEY_SETTINGS


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is missing")
def test_the_component_replaces_the_only_agent(tmp_path: Path) -> None:
    folder = tmp_path / "kubernetes"
    shutil.copytree(KUBERNETES, folder)
    file = folder / "kustomization.yaml"
    file.write_text(file.read_text().replace("# components: [images]", "components: [replicas, images]"))
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    built = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(done.stdout)}
    assert ("StatefulSet", "assure-agent") not in built
    assert ("ConfigMap", "assure-agent-git") not in built
    deployment = built["Deployment", "assure-agent"]
    kubernetes_validate.validate(deployment, "1.37", strict=True)
    mounts = deployment["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "images", "mountPath": "/srv/images", "readOnly": True} in mounts
    assert "ASSURE_AGENT_SPECS_DIR" not in built["ConfigMap", "assure-agent"]["data"]
    ports = [
        port["port"] for rule in built["NetworkPolicy", "assure-agent"]["spec"]["egress"] for port in rule["ports"]
    ]
    assert {53, 443, 5432} == set(ports)


def test_the_compose_specification_accepts_the_file() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_services_of_compose_are_hardened_or_those_of_the_other_file() -> None:
    for name, service in REPLICAS["services"].items():
        if "extends" in service:
            assert service["extends"] == {"file": "compose.yaml", "service": name}
        else:
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
            assert service["security_opt"] == ["no-new-privileges:true"]
            assert service["healthcheck"]["test"][0] == "CMD"
    assert REPLICAS["services"]["agent"]["healthcheck"] == COMPOSE["services"]["agent"]["healthcheck"]


def test_the_replicas_of_compose_share_the_key_and_no_folder_that_they_write() -> None:
    """[I7] With one STATE_DIR, replicas would replace the marks of each other."""
    agent = REPLICAS["services"]["agent"]
    assert agent["deploy"]["replicas"] == 3
    assert set(agent["environment"]) >= KEY_SETTINGS
    assert not [one for one in agent["volumes"] if not one.endswith(":ro")]
    first, last = map(int, agent["ports"][0].split(":")[1].split("-"))
    assert last - first + 1 >= 3


def test_every_secret_and_volume_of_compose_is_declared() -> None:
    services = {name: COMPOSE["services"].get(name, {}) | one for name, one in REPLICAS["services"].items()}
    assert {name for one in services.values() for name in one.get("secrets", [])} == set(REPLICAS["secrets"])
    for one in services.values():
        for mount in one.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            elif not source.startswith("$"):
                assert source in REPLICAS["volumes"]


def test_prometheus_finds_each_replica_by_itself() -> None:
    (job,) = yaml.safe_load((DEPLOY / "compose/prometheus-replicas.yaml").read_text())["scrape_configs"]
    port = Settings().address[1]
    assert job["job_name"] == "assure-agent"
    assert [(one["names"], one["port"]) for one in job["dns_sd_configs"]] == [(["agent"], port)]
    (monitored,) = manifest("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert monitored["port"] == "http"
