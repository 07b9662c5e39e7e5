"""`validate`: the last line says how much was checked."""

from tests.cli.command_runner import Here
from verification.builders.request_files import capture, upload, write


def test_the_last_line_counts_files_requests_and_faults(here: Here) -> None:
    write(here.folder / "specs/a.yaml", capture("a") + "---\n" + capture("b"))
    write(here.folder / "specs/team/c.yaml", upload("c", {"front": "front.jpg"}))
    said = here("validate", "specs")
    assert (said.code, said.out, said.err) == (0, "2 files, 3 requests: ok\n", "")
    assert here("validate", "specs/a.yaml", "specs").out == said.out
    assert here("validate", "specs/team").out == "1 file, 1 request: ok\n"
    write(here.folder / "specs/team/c.yaml", upload("c", {"front": "none.jpg"}))
    said = here("validate", "specs")
    assert (said.code, said.err) == (5, "2 files, 3 requests: 1 fault\n")
    assert said.out.startswith("specs/team/c.yaml:")


def test_json_has_the_faults_only(here: Here) -> None:
    write(here.folder / "specs/a.yaml", capture("a"))
    said = here("validate", "specs", "-o", "json")
    assert (said.code, said.json, said.err) == (0, [], "")
