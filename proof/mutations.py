"""Agents that are broken on purpose: what a proof is worth shows in what it catches."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def broken(name: str | None) -> Iterator[None]:
    """An agent that is broken in this way while the block runs; None: as it is."""
    yield
