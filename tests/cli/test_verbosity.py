"""`--verbose` and `--quiet`, before and after the command."""

import pytest

from tests.cli.command_runner import FREE_PORT, Here, finish, spawn
from verification.builders.request_files import upload, write

ONCE = ("run", "--sandbox", "--once", *FREE_PORT)


@pytest.mark.parametrize(
    "arguments", [("-v", "validate", "specs", "-q"), ("validate", "specs", "--quiet", "--verbose")]
)
def test_both_are_refused(here: Here, arguments: tuple[str, ...]) -> None:
    here(*arguments).is_one_clear_error("--verbose", "--quiet", code=2)


def test_the_log_level_is_a_flag_of_every_command(here: Here) -> None:
    for arguments, level in ((("config", "view"), "info"), (("-v", "config", "view"), "debug")):
        (one,) = [v for v in here(*arguments, "-o", "json").json["items"] if v["name"] == "ASSURE_AGENT_LOG_LEVEL"]
        assert one["value"] == level
    (one,) = [
        v
        for v in here("config", "view", "-o", "json", "-q", LOG_LEVEL="info").json["items"]
        if v["name"] == "ASSURE_AGENT_LOG_LEVEL"
    ]
    assert (one["value"], one["source"], one["where"]) == ("warning", "flag", "the command line")


def test_a_quiet_run_prints_nothing_and_a_verbose_run_logs_everything(here: Here) -> None:
    write(here.folder / "specs/a.yaml", upload("a", {"front": "front.jpg"}))
    quiet = finish(spawn(here.folder, *ONCE, "--quiet", LOG_FORMAT="text"))
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    write(here.folder / "specs/b.yaml", upload("b", {"front": "front.jpg"}))
    verbose = finish(spawn(here.folder, *ONCE, "--verbose", LOG_FORMAT="text"))
    assert verbose.code == 0
    assert "b: accepted" in verbose.out
    assert "[debug" in verbose.err or "[info" in verbose.err


def test_a_quiet_validation_prints_faults_only(here: Here) -> None:
    write(here.folder / "specs/a.yaml", upload("a", {"front": "front.jpg"}))
    assert here("validate", "specs", "-q").out == ""
    write(here.folder / "specs/b.yaml", upload("b", {"front": "none.jpg"}))
    said = here("validate", "specs", "-q")
    assert (said.code, len(said.out.splitlines())) == (5, 1)
