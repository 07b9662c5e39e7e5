"""The package and what `make dist` builds: metadata, a README without dead links, and a context for the image."""

import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from email.message import Message

import pytest

from tests.deploy.deployment import CONTAINERFILE, ROOT

sys.path.insert(0, str(ROOT / "scripts"))

import package_metadata

README = (ROOT / "README.md").read_text()
SITE = "https://docs.example"
REPOSITORY = "https://forge.example/team/assure-agent"


def targets(text: str) -> set[str]:
    """The targets of all links and pictures."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return {*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'\b(?:src|srcset|href)="([^"]+)"', text)}


@pytest.mark.parametrize("repository", ["", REPOSITORY])
def test_no_link_of_the_published_readme_is_relative(repository: str) -> None:
    assert {target for target in targets(README) if "://" not in target}
    published = package_metadata.readme(README, repository, "v9.9.9")
    assert {target for target in targets(published) if not target.startswith("https://")} == set()


def test_with_a_repository_every_link_leads_to_a_file_of_this_version() -> None:
    published = package_metadata.readme(README, REPOSITORY, "v9.9.9")
    own = [target for target in targets(published) if target.startswith(REPOSITORY)]
    assert len(own) > 20
    for target in own:
        kind, tag, path = target.removeprefix(REPOSITORY + "/").split("/", 2)
        assert (kind, tag) == ("raw" if path.endswith((".svg", ".png")) else "blob", "v9.9.9")
        assert (ROOT / path.partition("#")[0]).exists(), target


def test_without_a_repository_a_link_becomes_the_path_of_its_file() -> None:
    published = package_metadata.readme("[limits](docs/limits.md#a) [`LICENSE`](LICENSE) ![x](a.png)\n", "", "v1")
    assert published == "limits (`docs/limits.md`) LICENSE \n"


def test_the_urls_of_the_project_lead_to_existing_pages() -> None:
    assert set(package_metadata.urls("", SITE)) == {"Assure", "Documentation"}
    found = package_metadata.urls(REPOSITORY, SITE)
    pages = [url.removeprefix(f"{REPOSITORY}/blob/HEAD/") for url in found.values() if "/blob/" in url]
    assert len(pages) == 2
    assert all((ROOT / page).is_file() for page in pages)


def test_the_image_is_built_from_the_files_that_the_build_context_contains() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    kept = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    assert names == kept
    assert all((ROOT / name).exists() for name in names)
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {configuration["tool"]["hatch"]["metadata"]["hooks"]["custom"]["path"], "README.md", "LICENSE"}
    assert needed <= names


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Message:
    """The metadata of a wheel that is built without network."""
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target], cwd=ROOT, check=True)
    (wheel,) = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_string(opened.read(name).decode())


def test_the_wheel_says_who_made_it_and_what_it_is_for(metadata: Message) -> None:
    assert metadata["Author"] == "The Assure Agent authors"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "Operating System :: POSIX :: Linux" in metadata.get_all("Classifier", [])
    assert metadata.get_all("Project-URL")
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert str(metadata.get_payload()).startswith("# Assure Agent\n")
