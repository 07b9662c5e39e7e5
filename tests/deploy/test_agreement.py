"""The files of deploy/ agree with the settings, with the agent's endpoints and with each other."""

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from agent import __version__
from agent.platform.settings import Settings
from agent.web.health_endpoints import health_routes
from tests.deploy.deployment import (
    COMPOSE,
    CONTAINERFILE,
    DEPLOY,
    ROOT,
    SETTINGS,
    containers,
    environments,
    manifest,
    manifests,
    pod,
)

FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(DEPLOY).as_posix())
def test_every_setting_that_a_file_names_exists(path: Path) -> None:
    named = re.findall(r"assure_agent_[a-z_]+|ASSURE_AGENT_[A-Z_]+", path.read_text())
    assert {name.upper() for name in named} <= SETTINGS


@pytest.mark.parametrize("name", ["compose", "kubernetes", "unit", "agent.env"])
def test_the_settings_of_a_deployment_are_valid(name: str) -> None:
    given = {
        setting.removeprefix("ASSURE_AGENT_").lower(): value
        for setting, value in environments()[name].items()
        if "$" not in value  # compose inserts these
    }
    settings = Settings(**given)
    assert settings.state_path.is_absolute()
    assert settings.specs_dir.is_absolute()
    assert settings.images_dir.is_absolute()


def test_the_unit_and_roots_commands_use_the_same_folders() -> None:
    unit, root = environments()["unit"], environments()["agent.env"]
    folders = {f"ASSURE_AGENT_{name}" for name in ("STATE_URL", "SPECS_DIR", "IMAGES_DIR")}
    assert {name: unit[name] for name in folders} == {name: root[name] for name in folders}


def test_git_sync_publishes_where_the_agent_reads() -> None:
    service = COMPOSE["services"]["git-sync"]["environment"]
    for git_sync, agent in (
        (service, environments()["compose"]),
        (manifest("ConfigMap", "assure-agent-git")["data"], environments()["kubernetes"]),
    ):
        published = PurePosixPath(git_sync["GITSYNC_ROOT"], git_sync["GITSYNC_LINK"])
        assert PurePosixPath(agent["ASSURE_AGENT_SPECS_DIR"]) == published / "specs"
        assert git_sync["GITSYNC_DEPTH"] == "0"  # a shallow clone has no authors


def test_every_path_of_a_setting_is_in_a_volume_with_the_right_to_write() -> None:
    compose = dict(one.split(":", 1) for one in reversed(COMPOSE["services"]["agent"]["volumes"]) if "$" not in one)
    assert compose == {"source": "/git:ro", "state": "/srv/state"}
    assert "source:/git" in COMPOSE["services"]["git-sync"]["volumes"]
    mounts = {one["name"]: one for one in containers()["agent"]["volumeMounts"]}
    assert (mounts["source"]["mountPath"], mounts["source"]["readOnly"]) == ("/git", True)
    assert {one["name"]: one["mountPath"] for one in containers()["git-sync"]["volumeMounts"]}["source"] == "/git"
    assert mounts["state"] == {"name": "state", "mountPath": "/srv/state"}
    (claim,) = manifest("StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "state"
    for settings in (environments()["compose"], environments()["kubernetes"]):
        assert settings["ASSURE_AGENT_STATE_URL"] == "sqlite:////srv/state/agent.db"
        assert settings["ASSURE_AGENT_IMAGES_DIR"] == "/srv/images"
    assert "/srv/images:ro" in COMPOSE["services"]["agent"]["volumes"][1]
    component = (DEPLOY / "kubernetes/images/kustomization.yaml").read_text()
    assert "mountPath: /srv/images, readOnly: true" in component
    assert "VOLUME /srv/state" in CONTAINERFILE


def test_the_agent_and_everything_that_calls_it_use_one_port() -> None:
    port = Settings().address[1]
    assert {one.get("ASSURE_AGENT_LISTEN", f":{port}").rpartition(":")[2] for one in environments().values()} == {
        str(port)
    }
    assert f"ASSURE_AGENT_LISTEN=0.0.0.0:{port}" in CONTAINERFILE
    assert f"EXPOSE {port}" in CONTAINERFILE
    assert COMPOSE["services"]["agent"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert containers()["agent"]["ports"] == [{"name": "http", "containerPort": port}]
    (service,) = manifest("Service")["spec"]["ports"]
    assert (service["port"], service["targetPort"]) == (port, "http")
    assert manifest("NetworkPolicy")["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": "http"}]
    scraped = yaml.safe_load((DEPLOY / "compose/prometheus.yaml").read_text())["scrape_configs"][0]
    assert scraped["static_configs"] == [{"targets": [f"agent:{port}"]}]


def test_the_sidecars_probes_call_the_port_on_which_git_sync_listens() -> None:
    port = int(manifest("ConfigMap", "assure-agent-git")["data"]["GITSYNC_HTTP_BIND"].removeprefix(":"))
    sidecar = containers()["git-sync"]
    assert sidecar["ports"] == [{"name": "git-sync", "containerPort": port}]
    assert {sidecar[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe")} == {"git-sync"}


def test_every_probe_and_scrape_calls_an_endpoint_of_the_agent() -> None:
    endpoints = {getattr(route, "path", "") for route in health_routes(CollectorRegistry(), lambda: None)}
    probes = {
        name: containers()["agent"][name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    (monitored,) = manifest("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert {monitored["path"], *(probe["path"] for probe in probes.values())} == endpoints
    assert {monitored["port"], *(probe["port"] for probe in probes.values())} == {"http"}


def test_the_healthcheck_of_compose_is_that_of_the_image() -> None:
    (command,) = re.findall(r"^    CMD (\[.*\])$", CONTAINERFILE, re.MULTILINE)
    assert COMPOSE["services"]["agent"]["healthcheck"]["test"] == ["CMD", *json.loads(command)]


def test_every_file_names_this_version_of_the_agent_and_one_version_of_git_sync() -> None:
    assert f'\nversion = "{__version__}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"ARG VERSION={__version__}\n" in CONTAINERFILE
    assert COMPOSE["services"]["agent"]["image"] == f"assure-agent:{__version__}"
    assert containers()["agent"]["image"] == f"assure-agent:{__version__}"
    assert containers()["git-sync"]["image"] == COMPOSE["services"]["git-sync"]["image"]


def test_every_image_has_a_version() -> None:
    images = [one["image"] for one in (*COMPOSE["services"].values(), *containers().values())]
    images += re.findall(r"^FROM (\S+)", CONTAINERFILE, re.MULTILINE)
    assert [image for image in images if not re.search(r":v?\d+\.\d+[\w.-]*$", image)] == []


def test_every_secret_has_the_name_of_a_setting_and_reaches_only_its_reader() -> None:
    """A file in /run/secrets with the name of a setting needs no other configuration."""
    secrets = COMPOSE["services"]["agent"]["secrets"]
    assert {name.upper() for name in secrets} == {"ASSURE_AGENT_CLIENT_SECRET", "ASSURE_AGENT_API_TOKEN"}
    assert set(manifest("Secret")["stringData"]) <= SETTINGS
    volumes: dict[str, Any] = {one["name"]: one.get("secret", {}).get("secretName") for one in pod()["volumes"]}
    for reader, secret, path in (
        ("agent", "assure-agent", "/run/secrets"),
        ("git-sync", "assure-agent-git", "/etc/git-secret"),
    ):
        mounted = {volumes.get(one["name"]): one["mountPath"] for one in containers()[reader]["volumeMounts"]}
        assert {name: place for name, place in mounted.items() if name} == {secret: path}


def test_the_template_contains_no_secret_and_is_not_applied_with_the_rest() -> None:
    for name in ("assure-agent", "assure-agent-git"):
        assert set(manifest("Secret", name)["stringData"].values()) == {""}
    applied = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())["resources"]
    assert "secret.template.yaml" not in applied
    ignored = (DEPLOY / ".gitignore").read_text().split()
    assert {"secrets/", "secret.yaml"} <= set(ignored)


def test_prometheus_has_the_job_that_the_rules_name() -> None:
    rules = (ROOT / "grafana/prometheus/rules.yaml").read_text()
    scraped = yaml.safe_load((DEPLOY / "compose/prometheus.yaml").read_text())["scrape_configs"][0]
    (monitored,) = manifest("PodMonitor")["spec"]["podMetricsEndpoints"]
    relabelled = {one["targetLabel"]: one["replacement"] for one in monitored["relabelings"]}
    assert relabelled["job"] == scraped["job_name"]
    assert f'job="{scraped["job_name"]}"' in rules


def test_every_object_is_in_one_namespace_and_carries_the_label_of_the_agent() -> None:
    for path, one in manifests():
        if one["kind"] != "Namespace":
            assert one["metadata"]["namespace"] == "assure-agent", path.name
            assert one["metadata"]["labels"] == {"app.kubernetes.io/name": "assure-agent"}, path.name
