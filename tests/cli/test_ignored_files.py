"""Files of the source that are not request files: reported or listed, and ignored."""

from tests.cli.command_runner import FREE_PORT, Here, finish, spawn
from verification.builders.request_files import upload, write

ONCE = ("run", "--sandbox", "--once", *FREE_PORT)
KUSTOMIZATION = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n"


def test_a_misnamed_file_is_reported_by_validate_plan_doctor_and_the_log(here: Here) -> None:
    write(here.folder / "specs/customer.yaml.txt", upload("customer", {"front": "front.jpg"}))
    for command in (("validate", "specs"), ("plan",), ("doctor", "--offline")):
        said = here(*command)
        assert "customer.yaml.txt" in said.out + said.err, command
        assert ".yaml or .yml" in said.out + said.err
    assert here("plan", "-o", "json").json["passedOver"] == ["customer.yaml.txt"]
    assert "ignores files of the source" in finish(spawn(here.folder, *ONCE)).err


def test_other_kinds_are_refused_listed_or_ignored(here: Here) -> None:
    write(here.folder / "specs/a.yaml", upload("a", {"front": "front.jpg"}))
    write(here.folder / "specs/kustomization.yaml", KUSTOMIZATION)
    assert here("validate", "specs").code == 5
    assert here("validate", "specs", OTHER_DOCUMENTS="ignore").code == 0
    assert here(*ONCE, OTHER_DOCUMENTS="ignore").code == 0
    write(here.folder / "specs/.assureignore", "kustomization.yaml\n")
    assert here("validate", "specs").code == 0
    assert here(*ONCE).code == 0


def test_a_file_name_that_is_not_utf8_is_shown_escaped(here: Here) -> None:
    (here.folder / "specs" / "a\udcff.yaml").write_text("kind: x\n")
    said = here("validate", "specs")
    assert said.code == 5
    assert "specs/a\\udcff.yaml:1:1:" in said.out
