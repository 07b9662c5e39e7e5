"""Small valid pictures, and large ones of noise."""

import io
from functools import cache

from PIL import Image, PngImagePlugin


@cache
def jpeg(marker: str = "") -> bytes:
    """A JPEG of 8 x 8 pixels; its comment is the marker, such as `sandbox-outcome=rejected`."""
    content = io.BytesIO()
    Image.new("L", (8, 8)).save(content, "JPEG", comment=marker.encode())
    return content.getvalue()


@cache
def png(marker: str = "") -> bytes:
    """A PNG of 8 x 8 pixels; its text is the marker."""
    content = io.BytesIO()
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", marker)
    Image.new("L", (8, 8)).save(content, "PNG", pnginfo=text)
    return content.getvalue()


def noise(side: int = 230) -> bytes:
    """A JPEG of noise. 230 pixels a side make 50 kB; the size grows with the square of the side."""
    content = io.BytesIO()
    Image.effect_noise((side, side), 90).save(content, "JPEG", quality=90)
    return content.getvalue()
