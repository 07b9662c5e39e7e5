"""Specimen pictures. Simulated end users upload them, and a real one may use them instead of own pictures."""

import base64
from functools import cache
from pathlib import Path

from agent.sandbox.model import Image

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="

SPECIMEN = Image.of(base64.b64decode(_PIXEL), "image/png")  # one grey pixel, for uploads that need no drawing

ASSETS = Path(__file__).parent / "assets"


@cache
def drawn(depiction: str, pages: int) -> Image:
    """The drawn specimen of one picture: a passport for a document of one page, else the side of a card."""
    name = "selfie" if depiction == "selfie" else "passport" if pages == 1 else f"card-{depiction}"
    return Image.of((ASSETS / f"{name}.png").read_bytes(), "image/png")
