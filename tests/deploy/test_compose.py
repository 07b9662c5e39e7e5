"""The compose file: valid, hardened, and with mounts that exist."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.deployment import COMPOSE, DEPLOY, ROOT

SERVICES = COMPOSE["services"]


def validated(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_compose_specification_accepts_the_file(tmp_path: Path) -> None:
    done = validated(DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((DEPLOY / "compose.yaml").read_text().replace("read_only: true", "readonly: true"))
    assert validated(wrong).returncode == 1


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"git-sync"}))
def test_every_service_that_answers_http_has_a_healthcheck(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_every_secret_is_a_file_and_no_service_has_one_in_its_environment() -> None:
    used = {name for service in SERVICES.values() for name in service.get("secrets", [])}
    assert used == set(COMPOSE["secrets"])
    assert all(one["file"].startswith("./secrets/") for one in COMPOSE["secrets"].values())
    for service in SERVICES.values():
        for name in service.get("environment", {}):
            assert name.endswith("FILE") or not {"SECRET", "PASSWORD", "TOKEN", "KEY"} & set(name.split("_")), name


def test_every_volume_is_declared_and_every_mounted_file_exists() -> None:
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            elif not source.startswith("$"):
                assert source in COMPOSE["volumes"]


def test_grafana_finds_the_dashboards_and_the_data_source_under_own_names() -> None:
    mounts = dict(one.removesuffix(":ro").split(":") for one in SERVICES["grafana"]["volumes"])
    provider = ROOT / "grafana/provisioning/dashboards/assure-agent.yaml"
    (provided,) = yaml.safe_load(provider.read_text())["providers"]
    assert mounts["../grafana/dashboards"] == provided["options"]["path"]
    targets = [target for target in mounts.values() if "/provisioning/" in target]
    assert len(targets) == 2
    assert {Path(target).name for target in targets} == {"assure-agent.yaml"}
    (plain,) = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    (own,) = yaml.safe_load((DEPLOY / "compose/grafana-datasource.yaml").read_text())["datasources"]
    assert own == {**plain, "url": "http://prometheus:9090"}
    assert "prometheus" in SERVICES


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus")
def test_prometheus_accepts_its_configuration_with_the_rules_beside_it(tmp_path: Path) -> None:
    mounts = {one.removesuffix(":ro").split(":")[1]: one.split(":")[0] for one in SERVICES["prometheus"]["volumes"]}
    for target, source in mounts.items():
        if source.startswith("."):
            shutil.copy(DEPLOY / source, tmp_path / Path(target).name)
    done = subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout + done.stderr
