"""[I2] [I5] Nothing is asked of Assure because of an open request that differs from its history."""

import pytest

from agent.core.errors import StoreDamaged
from agent.core.record import Phase
from tests.store.engines import Engine
from tests.store.support import committed
from verification.builders.lives import Life


@pytest.fixture
async def filled(engine: Engine) -> Engine:
    """Two open requests and one that is done."""
    async with engine.opened() as store:
        for uid, phase in {"waits": Phase.RESULT, "begun": Phase.IMAGES, "settled": Phase.DONE}.items():
            await committed(store, Life(uid).until(phase))
    return engine


@pytest.mark.parametrize(
    "tampered",
    [
        "UPDATE requests SET record = json_set(record, '$.process_id', 'another') WHERE uid = 'begun'",
        "UPDATE requests SET record = json_set(record, '$.billed', json('false')) WHERE uid = 'waits'",
        "UPDATE requests SET phase = 'dossier' WHERE uid = 'waits'",
        "UPDATE requests SET seq = seq + 1 WHERE uid = 'begun'",
        "UPDATE events SET at = at + 1 WHERE uid = 'begun' AND seq = 4",
        "DELETE FROM events WHERE uid = 'waits' AND seq = 3",
        "DELETE FROM starts WHERE uid = 'waits'",
    ],
)
async def test_a_changed_open_request_is_refused_before_anything_is_done(filled: Engine, tampered: str) -> None:
    await filled.change(tampered)
    before = await filled.rows("SELECT key, value FROM meta ORDER BY key")
    with pytest.raises(StoreDamaged, match=r"is damaged: of request (begun|waits), ") as refused:
        async with filled.opened():
            pass
    assert "assure-agent audit verify" in refused.value.hint
    assert await filled.rows("SELECT key, value FROM meta ORDER BY key") == before


async def test_a_changed_done_request_is_left_to_the_audit(filled: Engine) -> None:
    """A start reads no done request, because there may be a million."""
    await filled.change("UPDATE events SET at = at + 1 WHERE uid = 'settled' AND seq = 2")
    async with filled.opened():
        pass
    assert filled.verified().findings
