"""A simulator of the Assure API for PictureID, on a real port. It stands alone and imports nothing of the agent.

    async with SandboxServer(SandboxConfig(seed=7)) as sandbox:
        ...  # the API at sandbox.url, what really happened in sandbox.ledger

Facts, as the vendor documents them (contract §1 to §10): paths, fields, status words, the life of a process, the four
documented shapes of a result, GET dossiers (last 100, no paging), GET processes (30 days, pages), user data and files,
capture configurations, the form of a capture link, error bodies, bearer authentication for every operation. Tests
check each answer against the vendor's OpenAPI.

Choices, because the contract is silent (§14, §15); each is a switch of SandboxConfig and marked there:
refusing unknown fields (`strict`), the order of GET dossiers (`dossier_order`), lag of reads (`read_lag`), a start
without its images (`start_without_images`), images after the start (`late_images_status`), a malformed Authorization
header (`malformed_auth_status`), image size (`max_image_bytes`, `oversize_status`), when a capture's process appears
(`capture_process`), whether a capture must name its sdk (`capture_needs_sdk`), a uiProfile that is not there
(`unknown_profile`), whether a start without images takes the dossier's files (`start_uses_files`), how long things take
(`verification_delay`, `capture_delay`), the document table but for id 137 (`documents`), whom events reach, how they
are signed and which endings they tell (`events`).
Choices without a switch: a capture link works once; the page's address behind the link and its language (`capture`);
what an event's eventData holds besides the reference (`events`); the name of a person who does not exist in the free
text of reasons (`CANARIES`); after a restart the images of started processes are gone.

How an outcome is chosen: `outcome`. How trouble is made: `faults`. What is counted: `ledger`.
Control, without authentication: GET /sandbox/ledger, POST /sandbox/ledger/reset, GET|POST|DELETE /sandbox/faults,
GET|PUT|DELETE /sandbox/events.

Left out: download, matching, watermark, redaction. The guide for users is docs/sandbox.md.
"""

from agent.sandbox.config import SandboxConfig
from agent.sandbox.events.subscription import Subscription
from agent.sandbox.outcome import CANARIES
from agent.sandbox.persistence import ForeignWorld
from agent.sandbox.server import SandboxServer

__all__ = ["CANARIES", "ForeignWorld", "SandboxConfig", "SandboxServer", "Subscription"]
