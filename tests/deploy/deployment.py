"""The files of deploy/, parsed."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from agent.platform.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SETTINGS = frozenset(PREFIX + name.upper() for name in Settings.model_fields)


def manifests() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every document for Kubernetes, with its file; kustomizations are none."""
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from ((path, document) for document in yaml.safe_load_all(path.read_text()))


def manifest(kind: str, name: str = "assure-agent") -> dict[str, Any]:
    """The only document of this kind and name."""
    (found,) = (one for _, one in manifests() if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


def pod() -> dict[str, Any]:
    """The pod of the StatefulSet."""
    spec: dict[str, Any] = manifest("StatefulSet")["spec"]["template"]["spec"]
    return spec


def containers() -> dict[str, dict[str, Any]]:
    """All containers of the pod, by name."""
    return {one["name"]: one for one in (*pod()["initContainers"], *pod()["containers"])}


def environments() -> dict[str, Mapping[str, str]]:
    """The settings that each file gives to the agent."""
    unit = (DEPLOY / "assure-agent.service").read_text()
    return {
        "compose": COMPOSE["services"]["agent"]["environment"],
        "kubernetes": manifest("ConfigMap")["data"],
        "unit": dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE)),
        "agent.env": dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "agent.env").read_text(), re.MULTILINE)),
    }
