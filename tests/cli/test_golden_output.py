"""The complete output of commands, compared with tests/golden/cli. `make golden` writes these files."""

import asyncio

import pytest

from tests.cli.command_runner import Here
from tests.support.clock import START
from tests.support.environment import World
from tests.support.fixtures import begin, world
from tests.support.golden import difference, stable
from verification.builders.request_files import IDENTITY_CARD, upload, write

__all__ = ["begin", "world"]

COMMANDS = {
    "get": ("get",),
    "get-wide": ("get", "-o", "wide", "--sort-by", "phase"),
    "get-yaml": ("get", "done", "-o", "yaml"),
    "get-csv": ("get", "-o", "csv"),
    "get-name": ("get", "-o", "name", "--limit", "2"),
    "get-jsonpath": ("get", "-o", """jsonpath={range .items[*]}{.name}: {.state}{"\\n"}{end}"""),
    "get-selected": ("get", "--state", "held", "--reason", "back-image-required"),
    "get-empty-selection": ("get", "-l", "team=onboarding"),
    "get-unknown-phase": ("get", "--phase", "resul"),
    "get-unknown-column": ("get", "--sort-by", "agee"),
    "get-unknown-format": ("get", "-o", "yml"),
    "describe": ("describe", "retained", "--remote"),
    "logs": ("logs", "done"),
    "diff": ("diff",),
    "explain-done": ("explain", "done"),
    "explain-held": ("explain", "held"),
    "explain-suspended": ("explain", "suspended"),
    "plan": ("plan",),
    "plan-markdown": ("plan", "-o", "markdown"),
    "wait": ("wait", "--all"),
    "doctor": ("doctor", "--offline"),
    "audit-log": ("audit", "log", "done"),
    "audit-verify": ("audit", "verify"),
    "audit-query": ("audit", "query", "holds"),
    "audit-certificate": ("audit", "certificate", "done"),
    "get-unknown": ("get", "unknown"),
    "get-misspelt": ("get", "done", "suspnded", "-o", "name"),
    "completion-bash": ("completion", "bash"),
    "completion-zsh": ("completion", "zsh"),
    "completion-fish": ("completion", "fish"),
    "claims-none": ("claims", "done"),
}


async def test_the_output_of_each_command_is_the_golden_file(
    world: World, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.cli.request_table.time", lambda: START + 3600.0)
    config = world.sandbox.config
    here.env |= {
        "STATE_URL": f"sqlite:///{world.state}",
        "SPECS_DIR": str(world.specs),
        "IMAGES_DIR": str(world.images),
        "BASE_URL": world.sandbox.url,
        "CLIENT_ID": config.client_id,
        "CLIENT_SECRET": config.client_secret,
        "CLAIMS_KEY": "k" * 32,
    }
    world.upload("done")
    world.upload("held", document_id=IDENTITY_CARD)
    world.upload("retained", retention="1d")
    world.upload("suspended", suspend=True)
    write(world.specs / "refused.yaml", upload("refused", {"front": "no/such.jpg"}))
    await world.settle()
    differences = []
    for name, arguments in COMMANDS.items():
        result = await asyncio.to_thread(here, *arguments)
        output = f"$ assure-agent {' '.join(arguments)}\n{result.out}{result.err}exit code {result.code}\n"
        differences.append(difference(f"cli/{name}", stable(output, {"FOLDER": world.folder, "HERE": here.folder})))
    assert not any(differences), "\n".join(differences) + "\nWrite the golden files with `make golden`."
