"""IMAGES_AFTER_UPLOAD=delete with a read-only images folder, as in both shipped deployments [I6]."""

import subprocess

import pytest

from tests.cli.command_runner import COMMAND, CommandResult, Here, finish, spawn
from verification.builders.request_files import upload, write

from .test_run import FAST, ONCE

DELETE = {"IMAGES_AFTER_UPLOAD": "delete"}
READ_ONLY = (
    "unshare",
    "-rm",
    "sh",
    "-c",
    'mount --bind images images && mount -o remount,bind,ro images && exec "$@"',
    "sh",
)


DOCTOR = ("doctor", "--offline", "-o", "json", "--state-url", "sqlite:///state/sandbox/agent.db")


def on_read_only_images(here: Here, *arguments: str) -> CommandResult:
    env = {f"ASSURE_AGENT_{name}": value for name, value in (here.env | FAST | DELETE).items()}
    done = subprocess.run(
        [*READ_ONLY, *COMMAND, *arguments],
        cwd=here.folder,
        env={"PATH": "/usr/bin:/bin"} | env,
        capture_output=True,
        text=True,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


def test_an_undeletable_image_is_reported_and_deleted_by_a_later_start(here: Here) -> None:
    if subprocess.run([*READ_ONLY, "true"], cwd=here.folder, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    write(here.folder / "specs/a.yaml", upload("a", {"front": "front.jpg"}))
    said = on_read_only_images(here, *ONCE)
    assert said.code == 0, said
    assert "the agent cannot delete files in the images folder" in said.err  # before anything was uploaded
    assert "images not deleted" in said.err
    assert "EROFS" in said.err
    assert (here.folder / "images/front.jpg").exists()

    checks = {check["check"]: check for check in on_read_only_images(here, *DOCTOR).json["checks"]}
    assert checks["images, deleted"]["state"] == "problem"
    assert "Read-only file system" in checks["images, left"]["message"]
    explained = here("explain", "a").out
    assert "Its image files are due for deletion since" in explained
    assert "EROFS, Read-only file system, tries: 1" in explained
    assert here("explain", "a", "-o", "json").json["items"][0]["imagesUndeleted"]["cause"] == "EROFS"

    said = finish(spawn(here.folder, *ONCE, **FAST, **DELETE))
    assert said.code == 0, said
    assert said.err == ""
    assert not (here.folder / "images/front.jpg").exists()
    assert "Its image files" not in here("explain", "a").out
    checks = {check["check"]: check for check in here(*DOCTOR, **DELETE).json["checks"]}
    assert checks["images, deleted"]["state"] == "ok"
    assert "images, left" not in checks
