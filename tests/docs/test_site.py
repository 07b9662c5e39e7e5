"""The site of the documents: it builds strictly, loads nothing from the network, and its search works from a folder."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_ABROAD = re.compile(r"""(?:src|srcset)=["']?(https?:)?//|<link[^>]+href=["']?(https?:)?//""")


def build(config: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(target)]
    return subprocess.run(command, capture_output=True, text=True, env={"NO_MKDOCS_2_WARNING": "1", "PATH": "/usr/bin"})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    built = build(ROOT / "mkdocs.yml", target)
    assert built.returncode == 0, built.stdout + built.stderr
    return target


def test_no_page_loads_anything_from_the_network(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        assert not _ABROAD.search(page.read_text()), page.name


def test_the_index_of_the_search_works_without_a_server(site: Path) -> None:
    assert "crypto-shredding" in (site / "search/search_index.js").read_text().lower()
    assert 'src="assets/iframe-worker.js"' in (site / "index.html").read_text()


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    for path in ROOT.iterdir():
        if path.name in ("docs", "scripts"):
            shutil.copytree(path, tmp_path / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.name == "mkdocs.yml":
            shutil.copy(path, tmp_path)
        else:
            (tmp_path / path.name).symlink_to(path)
    with (tmp_path / "docs/faq.md").open("a") as page:
        page.write("\n[page](missing-page.md) [anchor](concepts.md#missing-anchor) [file](../missing-file.py)\n")
    built = build(tmp_path / "mkdocs.yml", tmp_path / "built")
    assert built.returncode == 1
    for name in ("missing-page", "missing-anchor", "missing-file"):
        assert name in built.stdout + built.stderr
