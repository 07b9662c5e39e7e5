"""The callers of a group commit."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent.core.step import Step
from agent.ports import Command, Receipt

_LIMIT = 128  # callers for one statement: limits how long the first one waits


@dataclass(slots=True, eq=False)
class Ticket:
    """The work of one caller, and the future that it waits for."""

    steps: Sequence[Step]
    receipt: Receipt | None
    command: tuple[Command, str, float] | None  # with its answer and its time
    erased: tuple[str, float] | None  # a request whose personal data is erased, and when
    future: asyncio.Future[None]

    @property
    def alone(self) -> bool:
        """True if it needs a statement of its own."""
        return self.command is not None or self.erased is not None

    def uids(self) -> list[str]:
        """The requests that it changes."""
        return [step.record.uid for step in self.steps] + ([self.erased[0]] if self.erased is not None else [])


def first_group(waiting: Sequence[Ticket]) -> list[Ticket]:
    """The first tickets with steps of different requests. A command is alone: its number depends on the one before."""
    group: list[Ticket] = []
    seen: set[str] = set()
    for ticket in waiting[:_LIMIT]:
        uids = ticket.uids()
        if group and (ticket.alone or group[-1].alone or not seen.isdisjoint(uids)):
            break
        group.append(ticket)
        seen.update(uids)
    return group


def answer(tickets: Iterable[Ticket], error: Exception | None) -> None:
    """Let the callers continue, or raise this error in them. A cancelled caller receives nothing."""
    for ticket in tickets:
        if ticket.future.done():
            continue
        if error is None:
            ticket.future.set_result(None)
        else:
            ticket.future.set_exception(error)
