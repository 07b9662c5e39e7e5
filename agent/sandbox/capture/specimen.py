"""Pictures of nobody's documents: what a simulated person uploads, and what a real one may take in place of theirs."""

import base64
from functools import cache
from pathlib import Path

from agent.sandbox.model import Image

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="

SPECIMEN = Image.of(base64.b64decode(_PIXEL), "image/png")  # one grey pixel, for those who do not look

ASSETS = Path(__file__).parent / "assets"


@cache
def drawn(depiction: str, pages: int) -> Image:
    """The drawn specimen for one picture: a passport when the document has one page, else the side of a card."""
    name = "selfie" if depiction == "selfie" else "passport" if pages == 1 else f"card-{depiction}"
    return Image.of((ASSETS / f"{name}.png").read_bytes(), "image/png")
