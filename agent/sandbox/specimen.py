"""The picture that a simulated person uploads: a PNG of one grey pixel, and nobody's document."""

import base64

from agent.sandbox.model import Image

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="

SPECIMEN = Image.of(base64.b64decode(_PIXEL), "image/png")
