"""Kubernetes accepts the manifests, and the pod keeps to the restricted profile."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.deploy.deployment import KUBERNETES, containers, manifest, manifests, pod

OLDEST, NEWEST = "1.29", "1.37"  # native sidecars are on since 1.29
MANIFESTS = [(path, one) for path, one in manifests() if one["kind"] != "PodMonitor"]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize(("path", "document"), MANIFESTS, ids=lambda one: one.name if isinstance(one, Path) else "")
def test_kubernetes_accepts_the_manifest(path: Path, document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_the_validation_finds_an_unknown_field() -> None:
    document = manifest("StatefulSet")
    document["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, NEWEST, strict=True)


def test_the_prometheus_operator_accepts_the_pod_monitor() -> None:
    """The schema has only the fields that the manifest uses: the Operator publishes its schemas as Go and CRDs."""
    schema = yaml.safe_load((Path(__file__).parent / "podmonitor.schema.yaml").read_text())
    Draft202012Validator(schema).validate(manifest("PodMonitor"))


def kustomized(folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def test_the_kustomization_lists_every_file() -> None:
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"secret.template.yaml", "kustomization.yaml"}
    assert set(listed) == files


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is missing")
def test_kustomize_builds_the_same_documents() -> None:
    built = kustomized(KUBERNETES)
    plain = [one for _, one in manifests() if one["kind"] not in ("Secret", "PersistentVolumeClaim", "Deployment")]
    assert {(one["kind"], one["metadata"]["name"]) for one in built} == {
        (one["kind"], one["metadata"]["name"]) for one in plain
    }
    assert next(one for one in built if one["kind"] == "StatefulSet") == manifest("StatefulSet")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is missing")
def test_the_component_mounts_the_images_into_the_agent_only(tmp_path: Path) -> None:
    folder = tmp_path / "kubernetes"
    shutil.copytree(KUBERNETES, folder)
    file = folder / "kustomization.yaml"
    file.write_text(file.read_text().replace("# components:", "components:"))
    built = {one["kind"]: one for one in kustomized(folder)}
    kubernetes_validate.validate(built["StatefulSet"], NEWEST, strict=True)
    spec = built["StatefulSet"]["spec"]["template"]["spec"]
    mounts = {
        one["name"]: [mount["name"] for mount in one["volumeMounts"]]
        for one in (*spec["containers"], *spec["initContainers"])
    }
    assert "images" in mounts["agent"]
    assert "images" not in mounts["git-sync"]
    claim = built["PersistentVolumeClaim"]["metadata"]["name"]
    assert {"name": "images", "persistentVolumeClaim": {"claimName": claim}} in spec["volumes"]


def test_the_pod_keeps_to_the_restricted_profile() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/"""
    context = pod()["securityContext"]
    assert (context["runAsNonRoot"], context["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod())
    for name, one in containers().items():
        own = one["securityContext"]
        assert own.get("runAsUser", context["runAsUser"]) > 0, name
        assert own["allowPrivilegeEscalation"] is False, name
        assert own["readOnlyRootFilesystem"] is True, name
        assert own["capabilities"] == {"drop": ["ALL"]}, name
        assert not [port for port in one["ports"] if "hostPort" in port], name
    kinds = {kind for one in pod()["volumes"] for kind in one if kind != "name"}
    assert kinds <= {"emptyDir", "secret", "configMap", "persistentVolumeClaim"}
    labels = manifest("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_one_agent_runs_and_its_volume_outlives_it() -> None:
    """[I1] Two agents would need two state files; the lock of the store refuses the second one."""
    spec = manifest("StatefulSet")["spec"]
    assert spec["replicas"] == 1
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert pod()["terminationGracePeriodSeconds"] > 20


def test_the_pod_gets_no_token() -> None:
    assert manifest("ServiceAccount")["automountServiceAccountToken"] is False
    assert pod()["automountServiceAccountToken"] is False


def test_the_sidecar_starts_first_and_runs_as_long_as_the_agent() -> None:
    (sidecar,) = pod()["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert "startupProbe" in sidecar


def test_every_selector_finds_the_pod() -> None:
    labels = manifest("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    found = [
        manifest("StatefulSet")["spec"]["selector"]["matchLabels"],
        manifest("Service")["spec"]["selector"],
        manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        manifest("PodMonitor")["spec"]["selector"]["matchLabels"],
    ]
    assert found == [labels] * len(found)


def test_the_node_of_the_only_pod_can_be_drained() -> None:
    assert manifest("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
