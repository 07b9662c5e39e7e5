"""A simulator of the Assure API for PictureID, on a real port. It imports nothing from the agent.

    async with SandboxServer(SandboxConfig(seed=7)) as sandbox:
        ...  # the API at sandbox.url, the calls and their effects in sandbox.ledger

These facts come from the vendor's documents (contract §1 to §10):

- paths, fields, status names, error bodies, and bearer authentication for every operation;
- the life of a process and the four documented shapes of a result;
- GET dossiers (last 100, no paging), GET processes (30 days, pages), user data and files;
- capture configurations and the form of a capture link.

Tests check each answer against the vendor's OpenAPI.

The contract is silent on other points (§14, §15). `SandboxConfig` has a switch for each of these choices:

- requests: unknown fields (`strict`), a malformed Authorization header (`malformed_auth_status`);
- reads: the order of GET dossiers (`dossier_order`), lag (`read_lag`);
- starts: missing images (`start_without_images`), the use of the dossier's files (`start_uses_files`);
- images: images after the start (`late_images_status`), their size (`max_image_bytes`, `oversize_status`);
- captures: when the process appears (`capture_process`), a missing sdk (`capture_needs_sdk`), an unknown uiProfile
  (`unknown_profile`);
- durations: `verification_delay`, `capture_delay`;
- document types: every id except 137 is invented (`documents`);
- events: the receiver, the signature, and which final statuses are reported (`events`).

These choices have no switch. A capture link works once. The contract does not describe the address and language of the
page (`capture`). An event's eventData holds more than the reference (`events`). The free text of reasons contains the
name of an invented person (`CANARIES`). After a restart the images of started processes are gone.

The module `outcome` chooses an outcome, `faults` injects faults, and `ledger` counts. These addresses control the
simulator, without authentication: GET /sandbox/ledger, POST /sandbox/ledger/reset, GET|POST|DELETE /sandbox/faults,
GET|PUT|DELETE /sandbox/events.

The simulator omits download, matching, watermark and redaction. The guide for users is docs/sandbox.md.
"""

from agent.sandbox.config import SandboxConfig
from agent.sandbox.events.subscription import Subscription
from agent.sandbox.outcome import CANARIES
from agent.sandbox.persistence import IncompatibleSnapshot
from agent.sandbox.server import SandboxServer

__all__ = ["CANARIES", "IncompatibleSnapshot", "SandboxConfig", "SandboxServer", "Subscription"]
