"""`validate` reports the faults that the agent would report."""

from pathlib import Path

from agent.source.validate import validate
from verification.builders.pictures import jpeg
from verification.builders.request_files import capture, upload, write


def messages(tmp_path: Path, *paths: str, images: str | None = None) -> list[str]:
    found = validate([tmp_path / path for path in paths], tmp_path / images if images else None).faults
    return [str(fault).replace(f"{tmp_path}/", "") for fault in found]


def test_good_files_and_folders_have_no_faults(tmp_path: Path) -> None:
    write(tmp_path / "specs/a.yaml", upload("a"))
    write(tmp_path / "specs/team/b.yml", capture("b"))
    write(tmp_path / "c.txt", upload("c"))  # named, so the ending does not matter
    assert messages(tmp_path, "specs", "c.txt") == []


def test_faults_come_in_order_and_begin_with_the_path_as_given(tmp_path: Path) -> None:
    write(tmp_path / "specs/b.yaml", upload("b").replace("137", "x").replace("kind: V", "kind: v"))
    write(tmp_path / "specs/a.yaml", "a: [")
    assert [line.split(" ")[0] for line in messages(tmp_path, "specs")] == [
        "specs/a.yaml:2:1:",
        "specs/b.yaml:2:7:",
        "specs/b.yaml:8:17:",
    ]


def test_a_path_that_is_not_there_is_reported(tmp_path: Path) -> None:
    assert messages(tmp_path, "nope.yaml") == [
        "nope.yaml:1:1: the file does not exist, or is a link that leads nowhere"
    ]


def test_names_are_compared_across_all_given_paths(tmp_path: Path) -> None:
    write(tmp_path / "one/a.yaml", upload("same"))
    write(tmp_path / "two/a.yaml", upload("same"))
    found = messages(tmp_path, "one", "two")
    assert len(found) == 2
    assert found[0].endswith("also used at two/a.yaml:1")


def test_a_file_named_twice_is_one_file(tmp_path: Path) -> None:
    write(tmp_path / "specs/a.yaml", upload("a"))
    (tmp_path / "link").symlink_to("specs")
    assert messages(tmp_path, "specs", "specs/a.yaml", "specs/../specs/a.yaml", "link") == []


def test_a_named_link_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "store/a.yaml", upload("a"))
    (tmp_path / "a.yaml").symlink_to("store/a.yaml")
    assert messages(tmp_path, "a.yaml") == []


def test_images_are_checked_and_reported_at_the_position_of_their_path(tmp_path: Path) -> None:
    text = upload("a").replace("document\n", "documentSelfie\n") + "      selfie: a/selfie.jpg\n"
    write(tmp_path / "specs/a.yaml", text)
    write(tmp_path / "images/a/front.jpg", jpeg())
    write(tmp_path / "images/a/selfie.jpg", "text")
    assert messages(tmp_path, "specs", images="images") == [
        "specs/a.yaml:11:15: the selfie image is neither a JPEG nor a PNG file by its content"
    ]
    write(tmp_path / "images/a/selfie.jpg", jpeg())
    assert messages(tmp_path, "specs", images="images") == []
    assert len(messages(tmp_path, "specs", images="nowhere")) == 2


def test_a_missing_image_is_reported_even_if_the_request_name_is_not_unique(tmp_path: Path) -> None:
    write(tmp_path / "specs/a.yaml", f"{upload('a')}---\n{upload('a')}")
    (tmp_path / "images").mkdir()
    assert len(messages(tmp_path, "specs", images="images")) == 4
