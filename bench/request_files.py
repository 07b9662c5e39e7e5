"""The material of the measurements: pictures, request files, settings."""

import io
from pathlib import Path
from typing import Any

from PIL import Image as Picture

from agent.platform.settings import Settings, load_settings
from bench.process import CLIENT

REQUEST = """\
apiVersion: assure-agent/v1
kind: VerificationRequest
metadata: {{name: {name}}}
spec:
  processType: document
  upload: {{documentId: 137, images: {{front: front.jpg}}}}
"""


def picture(side: int = 230) -> bytes:
    """A JPEG of noise: 50 kB for 230 pixels a side. The size grows with their square."""
    buffer = io.BytesIO()
    Picture.effect_noise((side, side), 90).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def settings(folder: Path, url: str, **others: Any) -> Settings:
    """The settings of an agent in this folder, with `specs/`, pictures and `agent.db` next to each other."""
    (folder / "specs").mkdir(exist_ok=True)
    known = {
        "base_url": url,
        "specs_dir": folder / "specs",
        "images_dir": folder,
        "state_url": f"sqlite:///{folder}/agent.db",
        "listen": "127.0.0.1:0",
        "poll_interval": 1.0,
    }
    return load_settings(**(known | CLIENT | others))
