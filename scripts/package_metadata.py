"""A hook of hatchling: the package index has no files of the repository, so the README's links to them change.

`repository` in pyproject.toml is the address of the repository. With it, links and pictures become
absolute, for the tag of this version, and the project gets its URLs. Without it, a link becomes the path of its file,
and pictures are removed. `documentation` is the address of the site.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?![a-z]+:)([^)\s#]+)(#[^)\s]*)?\)")
_IMAGE = re.compile(r"!\[([^\]]*)\]\((?![a-z]+:)([^)\s]+)\)")
_ATTRIBUTE = re.compile(r'\b(src|srcset)="(?![a-z]+:)([^"]+)"')
_PICTURE = re.compile(r"<picture>.*?</picture>\n*", re.DOTALL)


class PackageMetadata(MetadataHookInterface):
    """Sets `readme` and `urls`."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Set both, from the repository's address and the version."""
        repository = str(self.config.get("repository", "")).rstrip("/")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": readme(text, repository, f"v{metadata['version']}"),
        }
        metadata["urls"] = urls(repository, str(self.config["documentation"]))


def readme(text: str, repository: str, tag: str) -> str:
    """The README for a place without the files of the repository."""
    if not repository:
        text = _IMAGE.sub("", _PICTURE.sub("", text))
        return _LINK.sub(_path, text)
    text = _IMAGE.sub(rf"![\1]({repository}/raw/{tag}/\2)", text)
    text = _ATTRIBUTE.sub(rf'\1="{repository}/raw/{tag}/\2"', text)
    return _LINK.sub(rf"[\1]({repository}/blob/{tag}/\2\3)", text)


def _path(link: re.Match[str]) -> str:
    return link[2] if link[1].strip("`") == link[2] else f"{link[1]} (`{link[2]}`)"


def urls(repository: str, documentation: str) -> dict[str, str]:
    """The URLs of the project."""
    known = {
        "Documentation": documentation,
        "Assure": "https://developer.signicat.com/docs/id-document-and-biometric-verification/",
    }
    if not repository:
        return known
    pages = {"Changelog": "CHANGELOG.md", "Security": "SECURITY.md"}
    return {"Repository": repository} | {name: f"{repository}/blob/HEAD/{page}" for name, page in pages.items()} | known
