"""Draw the specimens of the examples, which cannot be mistaken for real documents.

Each image carries a marker for the sandbox, such as `sandbox-outcome=rejected`, in a JPEG comment or a PNG text chunk.
Run `python scripts/draw_specimens.py` after each change. A test checks that the images are current.
"""

import io
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

SIZE = (640, 420)
SPECIMENS = {
    "passport-front.jpg": ("SPECIMEN PASSPORT", "Utopia", "#1d3557", ""),
    "passport-expired.jpg": ("SPECIMEN PASSPORT", "Utopia, expired", "#6d597a", "sandbox-outcome=inconclusive"),
    "passport-copy.jpg": ("SPECIMEN PASSPORT", "black and white copy", "#555555", "sandbox-outcome=rejected"),
    "card-front.png": ("SPECIMEN IDENTITY CARD", "Utopia, front", "#2a9d8f", ""),
    "card-back.png": ("SPECIMEN IDENTITY CARD", "Utopia, back", "#21867a", ""),
    "selfie.jpg": ("SPECIMEN SELFIE", "nobody", "#e76f51", ""),
}
# The specimens on the sandbox's capture page, for end users without a document.
OFFERED = {
    "passport.png": ("SPECIMEN PASSPORT", "Utopia", "#1d3557", ""),
    "card-front.png": ("SPECIMEN CARD", "Utopia, front", "#2a9d8f", ""),
    "card-back.png": ("SPECIMEN CARD", "Utopia, back", "#21867a", ""),
    "selfie.png": ("SPECIMEN SELFIE", "nobody", "#b5523b", ""),
}
FOLDERS = {"images/specimens": SPECIMENS, "agent/sandbox/capture/assets": OFFERED}


def draw(title: str, subtitle: str, colour: str) -> Image.Image:
    """One specimen: a coloured card with a drawn face and lines without text."""
    image = Image.new("RGB", SIZE, colour)
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((16, 16, SIZE[0] - 16, SIZE[1] - 16), 24, outline="white", width=4)
    pen.ellipse((60, 120, 220, 320), fill="#f1faee")
    pen.ellipse((105, 190, 121, 206), fill=colour)
    pen.ellipse((159, 190, 175, 206), fill=colour)
    pen.arc((105, 220, 175, 280), 20, 160, fill=colour, width=5)
    large, small = ImageFont.load_default(34), ImageFont.load_default(22)
    pen.text((48, 44), title, fill="white", font=large)
    pen.text((260, 140), subtitle, fill="white", font=small)
    pen.text((260, 190), "Surname   SPECIMEN", fill="white", font=small)
    pen.text((260, 230), "Not valid for anything", fill="white", font=small)
    pen.text((48, 360), "P<UTO" + "SPECIMEN".ljust(30, "<"), fill="white", font=small)
    return image


def content(name: str, title: str, subtitle: str, colour: str, marker: str) -> bytes:
    """The bytes of one specimen file."""
    buffer = io.BytesIO()
    image = draw(title, subtitle, colour)
    if name.endswith(".png"):
        info = PngInfo()
        info.add_text("Comment", marker or "specimen")
        image.quantize(32).save(buffer, "PNG", optimize=True, pnginfo=info)
    else:
        image.save(buffer, "JPEG", quality=60, comment=(marker or "specimen").encode())
    return buffer.getvalue()


def main() -> None:
    """Write all specimens below the given folder, or below the project."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for place, specimens in FOLDERS.items():
        (root / place).mkdir(parents=True, exist_ok=True)
        for name, specimen in specimens.items():
            (root / place / name).write_bytes(content(name, *specimen))


if __name__ == "__main__":
    main()
