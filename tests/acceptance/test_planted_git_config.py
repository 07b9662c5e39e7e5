"""Settings of git that name a program, planted wherever people who may push or write could put them: none is run.

The settings are those of git-config(1) of git 2.39 to 2.50.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.git import commit, git, repository
from tests.support.timeouts import PATIENT
from verification.builders.pictures import jpeg
from verification.builders.request_files import upload, write
from verification.processes import COMMAND

PROGRAMS = (
    "core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "core.askPass", "core.gitProxy",
    "core.alternateRefsCommand", "filter.x.clean", "filter.x.smudge", "filter.x.process", "diff.external",
    "diff.x.command", "diff.x.textconv", "merge.x.driver", "credential.helper", "credential.https://a.test.helper",
    "gpg.program", "gpg.openpgp.program", "gpg.ssh.program", "gpg.x509.program", "gpg.ssh.defaultKeyCommand",
    "remote.origin.uploadpack", "remote.origin.receivepack", "uploadpack.packObjectsHook", "sequence.editor",
    "pager.log", "pager.status", "pager.ls-files", "interactive.diffFilter", "man.x.cmd", "man.x.path",
    "browser.x.cmd", "browser.x.path", "instaweb.httpd", "difftool.x.cmd", "difftool.x.path", "mergetool.x.cmd",
    "mergetool.x.path", "guitool.x.cmd", "trailer.x.command", "trailer.x.cmd", "sendemail.tocmd", "sendemail.ccCmd",
    "sendemail.sendmailCmd", "sendemail.smtpServer", "sendemail.headerCmd", "maintenance.strategy", "hook.x.command",
    "imap.tunnel", "web.browser", "tar.x.command", "lfs.customtransfer.x.path", "init.templateDir",
)  # fmt: skip
SHELL = ("alias.log", "alias.status", "alias.ls-files", "alias.rev-parse", "submodule.sub.update")  # begin with `!`
OTHERS = {
    "log.showSignature": "true", "diff.tool": "x", "merge.tool": "x", "man.viewer": "x", "help.browser": "x",
    "filter.x.required": "true", "remote.origin.vcs": "planted", "protocol.allow": "always",
    "protocol.ext.allow": "always", "protocol.file.allow": "always", "uploadpack.allowFilter": "true",
    "transfer.fsckObjects": "true", "submodule.recurse": "true", "status.submoduleSummary": "true",
    "core.attributesFile": "{attributes}", "core.hooksPath": "{hooks}", "url.ext::{program} url.insteadOf": "file://",
    "url.ext::{program} all.insteadOf": "/", "extensions.worktreeConfig": "true",
}  # fmt: skip
HOOKS = (
    "post-index-change", "post-checkout", "reference-transaction", "fsmonitor-watchman", "pre-auto-gc", "post-merge",
    "post-rewrite", "pre-commit", "query-watchman", "pre-receive", "update", "proc-receive",
)  # fmt: skip
ATTRIBUTES = "* filter=x diff=x merge=x\n"
# Three commands in one process, because each start takes half a second.
IN_TURN = """
import sys
from agent.cli import main

for words in (["validate", "specs"], ["plan"], ["doctor", "--offline"]):
    sys.argv = ["assure-agent", *words]
    try:
        main()
    except SystemExit as end:
        print("it ended with", end.code)
"""
SPY = """
import os, sys
def seen(event, arguments):
    if event in {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.system", "pty.spawn"}:
        with open(os.environ["RAN"], "a") as file:
            file.write(f"python: {event} {arguments[:2]}\\n")
sys.addaudithook(seen)
"""


@dataclass
class Ground:
    """A checkout with requests in `specs/` and pictures in `images/`, and a program that notes that it was run."""

    folder: Path
    checkout: Path

    @property
    def ran(self) -> str:
        """The programs that ran, one line each."""
        note = self.folder / "ran"
        return note.read_text() if note.exists() else ""

    def program(self, name: str) -> str:
        """A program whose name says by which setting it was run."""
        plain = name.replace("/", "-").replace(":", "-")
        text = f"#!/bin/sh\necho '{plain}' >> '{self.folder}/ran'\nexit 1\n"
        path = write(self.folder / "programs" / plain, text)
        path.chmod(0o755)
        return str(path)

    def settings(self) -> Mapping[str, str]:
        """All settings."""
        hooks = self.folder / "hooks"
        for hook in HOOKS:
            shutil.copy(self.program(f"hook-{hook}"), write(hooks / hook, ""))
        places = {
            "program": self.program("ext"),
            "hooks": str(hooks),
            "attributes": str(write(self.folder / "attributes", ATTRIBUTES)),
        }
        return (
            {name: self.program(name) for name in PROGRAMS}
            | {name: "!" + self.program(name) for name in SHELL}
            | {name.format(**places): value.format(**places) for name, value in OTHERS.items()}
        )

    def plant(self, file: Path, *but: str) -> None:
        """Write all settings into a file, but some."""
        with file.open("a") as opened:
            for name, value in self.settings().items():
                section, _, rest = name.partition(".")
                part, _, key = rest.rpartition(".")
                heading = f'{section} "{part}"' if part else section
                if name not in but:
                    opened.write(f'[{heading}]\n\t{key} = "{value}"\n')

    def touch(self) -> None:
        """Change the times of every file, so that git has to read it."""
        for path in self.checkout.rglob("*"):
            if ".git" not in path.parts and path.is_file():
                os.utime(path, (1_700_000_000, 1_700_000_000))

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run Python in the checkout, with the audit of `SPY`."""
        (self.folder / "home").mkdir(exist_ok=True)
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "PYTHONPATH": str(write(self.folder / "spy/sitecustomize.py", SPY).parent),
            "RAN": str(self.folder / "ran"),
            "ASSURE_AGENT_STATE_URL": f"sqlite:///{self.folder}/state/agent.db",
            "ASSURE_AGENT_LISTEN": "127.0.0.1:0",
            "ASSURE_AGENT_CLIENT_ID": "client",
            "ASSURE_AGENT_CLIENT_SECRET": "secret",
        }
        return subprocess.run(
            [COMMAND[0], *arguments], cwd=self.checkout, env=env, capture_output=True, text=True, timeout=PATIENT
        )


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    checkout = repository(tmp_path / "git")
    write(checkout / "images/front.jpg", jpeg("sandbox-outcome=accepted"))
    write(checkout / "specs/older.yaml", upload("older", {"front": "front.jpg"}))
    commit(checkout)
    write(checkout / "specs/asked.yaml", upload("asked", {"front": "front.jpg"}))
    commit(checkout)
    return Ground(tmp_path, checkout)


def in_the_settings(ground: Ground) -> None:
    """`.git/config`, hooks and attributes."""
    ground.plant(ground.checkout / ".git/config")
    write(ground.checkout / ".gitattributes", ATTRIBUTES)
    write(ground.checkout / ".git/info/attributes", ATTRIBUTES)
    for hook in HOOKS:
        shutil.copy(ground.program(f"hook-{hook}"), ground.checkout / ".git/hooks" / hook)


def in_a_filter(ground: Ground) -> None:
    """`filter.*.clean` alone: `core.fsmonitor` and others would be in its way."""
    for kind in ("clean", "process"):
        git(ground.checkout, "config", f"filter.x.{kind}", ground.program(kind))
    write(ground.checkout / ".git/info/attributes", ATTRIBUTES)


def in_included_settings(ground: Ground) -> None:
    """A file of settings in the work tree, included with and without a condition."""
    for name in ("one", "two"):
        ground.plant(ground.checkout / f"specs/{name}.gitconfig")
    write(ground.checkout / ".git/info/attributes", ATTRIBUTES)
    git(ground.checkout, "config", "include.path", "../specs/one.gitconfig")
    git(ground.checkout, "config", "includeIf.gitdir:/**.path", "../specs/two.gitconfig")


def in_the_settings_of_the_user(ground: Ground) -> None:
    ground.plant(write(ground.folder / "home/.gitconfig", ""))
    write(ground.checkout / ".git/info/attributes", ATTRIBUTES)


def in_a_bare_repository(ground: Ground, folder: str, *but: str) -> None:
    """The files of a repository, in addition to the existing files, as a merge request can add them."""
    here, inner = ground.checkout / folder, ground.folder / "inner"
    git(ground.folder, "init", "-q", str(inner))
    for path in here.iterdir():
        shutil.copy(path, inner / path.name)
    git(inner, "add", "-A")
    git(inner, "commit", "-q", "-m", "x")
    shutil.copytree(inner / ".git", here, dirs_exist_ok=True)
    git(ground.folder, "config", "--file", str(here / "config"), "core.bare", "false")
    git(ground.folder, "config", "--file", str(here / "config"), "core.worktree", ".")
    ground.plant(here / "config", *but)
    write(here / ".gitattributes", ATTRIBUTES)
    write(here / "info/attributes", ATTRIBUTES)


def in_a_bare_repository_in_specs(ground: Ground) -> None:
    in_a_bare_repository(ground, "specs", "core.fsmonitor", "log.showSignature")


def in_a_bare_repository_in_images(ground: Ground) -> None:
    in_a_bare_repository(ground, "images")


def in_a_partial_clone(ground: Ground) -> None:
    """Trees of older commits are missing; to have them, git would run a program of the remote."""
    git(ground.folder / "git/remote.git", "config", "uploadpack.allowFilter", "true")
    ground.checkout = ground.folder / "partial"
    git(ground.folder, "clone", "-q", "--filter=tree:0", f"file://{ground.folder}/git/remote.git", "partial")
    git(ground.checkout, "config", "remote.origin.uploadpack", ground.program("remote.origin.uploadpack"))


def in_a_submodule(ground: Ground) -> None:
    """The requests are in a submodule, whose repository is in the other one's."""
    outer = repository(ground.folder / "outer")
    git(
        outer,
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "-q",
        "add",
        str(ground.folder / "git/remote.git"),
        "sub",
    )
    git(outer, "submodule", "absorbgitdirs")
    ground.plant(outer / ".git/config")
    ground.plant(outer / ".git/modules/sub/config")
    write(outer / ".git/modules/sub/info/attributes", ATTRIBUTES)
    ground.checkout = outer / "sub"


def in_a_worktree(ground: Ground) -> None:
    git(ground.checkout, "worktree", "add", "-q", "--detach", "../tree")
    ground.plant(ground.checkout / ".git/config")
    ground.plant(ground.checkout / ".git/worktrees/tree/config.worktree")
    write(ground.checkout / ".git/info/attributes", ATTRIBUTES)
    ground.checkout = ground.folder / "git/tree"


def in_alternates(ground: Ground) -> None:
    """The objects are in another repository, which has settings as well."""
    git(ground.folder, "clone", "-q", "--shared", "git/remote.git", "shared")
    ground.checkout = ground.folder / "shared"
    ground.plant(ground.checkout / ".git/config")
    ground.plant(ground.folder / "git/remote.git/config")
    write(ground.checkout / ".git/info/attributes", ATTRIBUTES)


PLACES: tuple[tuple[Callable[[Ground], None], ...], ...] = (
    (
        in_the_settings, in_included_settings, in_the_settings_of_the_user, in_a_bare_repository_in_specs,
        in_a_bare_repository_in_images,
    ),
    (in_a_filter,),
    (in_a_worktree,),
    (in_a_partial_clone,),
    (in_a_submodule,),
    (in_alternates,),
)  # fmt: skip


@pytest.mark.parametrize("plants", PLACES, ids=lambda plants: plants[-1].__name__)
def test_no_program_named_in_git_settings_runs(ground: Ground, plants: tuple[Callable[[Ground], None], ...]) -> None:
    for plant in plants:
        plant(ground)
    ground.touch()
    (ground.folder / "ran").unlink(missing_ok=True)  # what git ran while the ground was laid
    said = [ground.run("-c", IN_TURN), ground.run(*COMMAND[1:], "run", "--sandbox", "--once")]
    assert ground.ran == ""
    assert not any("Traceback" in one.stdout + one.stderr for one in said)
    assert said[0].stdout.count("it ended with") == 3, said[0].stderr
    assert said[-1].returncode in (0, 5), said[-1].stderr


def test_the_program_would_run_under_git(ground: Ground) -> None:
    """The plants of the other test are good ones: with the command that was used before, they run."""
    in_a_bare_repository_in_images(ground)
    subprocess.run(["git", "-C", str(ground.checkout / "images"), "ls-files"], capture_output=True, check=False)
    assert "core.fsmonitor" in ground.ran
