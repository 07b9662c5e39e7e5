"""Write dashboards, rules and their tests: `python -m grafana [--runbook URL]`."""

import argparse
import json
import tomllib
from pathlib import Path

import yaml

from grafana.objectives import Times
from grafana.overview import OVERVIEW
from grafana.privacy import PRIVACY
from grafana.rules import document
from grafana.rules_tests import tests

HERE = Path(__file__).parent
_SITE = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"]["custom"]
RUNBOOK = f"{_SITE['documentation']}/operations/runbook/"  # as `make site` names the page
_HEAD = "# `make docs` writes this file from the Python files in grafana/. Change it there.\n"


def files(runbook: str = RUNBOOK) -> dict[Path, str]:
    """Every generated file and its text."""
    return {
        HERE / "dashboards" / "overview.json": _json(OVERVIEW.model(runbook)),
        HERE / "dashboards" / "privacy.json": _json(PRIVACY.model(runbook)),
        HERE / "prometheus" / "rules.yaml": _HEAD + _yaml(document(Times(), runbook)),
        HERE / "prometheus" / "rules_test.yaml": _HEAD + _yaml(tests(runbook)),
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=1000, allow_unicode=True)


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(prog="python -m grafana", description="Write dashboards, rules and their tests.")
    parser.add_argument(
        "--runbook", default=RUNBOOK, help="the address of the runbook, without # (default: %(default)s)"
    )
    for path, text in files(parser.parse_args().runbook).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
