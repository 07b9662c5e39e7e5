"""What people tell the agent: resolve, rerun, approve, pause, resume, forget, show-* (design §9, I7).

A running agent hears them on a socket beside the store (mode 0600), one JSON object a line, one line back. Each
carries an id of its sender's making: whoever sends it again, because the answer was lost, gets the same answer, and it
is obeyed once. When no agent runs, the command takes the lock itself and obeys through the same `CommandHandler`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from agent.admission.adoption import refuse_adoption
from agent.admission.changes import IdentityKey
from agent.core.errors import AgentError, UnknownRequest
from agent.core.observations import (
    ClaimsDisclosed,
    ClaimsErased,
    HoldAnswer,
    HoldResolved,
    Observation,
    PersonalDataDisclosed,
    RerunRequested,
)
from agent.core.record import Desired, Phase, Record
from agent.ports import Clock, Command, Recoveries, Store
from agent.ports.delivery import CommandTarget

_DURABLE_TIMEOUT = 30.0  # seconds until an answer must be folded in
_POLL_SECONDS = 0.05  # seconds between two looks whether it is
_APPROVED = "approved"
BACKED_UP = "backed-up"
PAUSED = "paused"  # under this the store remembers since when; empty: it is not paused


class CommandStore(Store, Protocol):
    """A store that remembers commands."""

    @property
    def keys(self) -> IdentityKey:
        """The key that makes uids."""

    @property
    def recoveries(self) -> Recoveries:
        """What is on record of a store that is not what it was."""

    def command_answer(self, command_id: str) -> str | None:
        """The answer to a command that was obeyed before."""

    async def apply_command(self, command: Command, answer: str, at: float) -> None:
        """Remember that it was obeyed."""

    def has_pending_image_deletions(self, uid: str) -> bool:
        """Is an image file of an earlier generation still to be deleted?"""

    async def make_claims_unreadable(self, uid: str) -> bool:
        """Make the claims of a request unreadable in every copy, and erase them. True: there were any."""

    async def forget(self, uid: str, at: float) -> bool:
        """Erase names, labels, paths and file of a request. False: not yet from the write-ahead log."""

    async def forget_in_replaced(self, uid: str, at: float) -> list[Path]:
        """Erase the same in the files that `restore` set aside. Returns those in which that could not be done."""


class Documents(Protocol):
    """The documents of the source, as they are now."""

    async def find_document(self, name: str, rerun: str | None) -> Desired:
        """The document of this name, with this rerun token. Raises AgentError if it is missing or invalid."""


class CommandHandler:
    """Obeys commands, each once."""

    def __init__(
        self,
        store: CommandStore,
        records: CommandTarget,
        documents: Documents,
        clock: Clock,
        source: str,
        on_command: Callable[[Command], None] = lambda command: None,
        page_link: Callable[[], str] | None = None,
    ) -> None:
        """`source` is the name of the source whose requests commands name. `page_link` is None while no agent runs."""
        self._store = store
        self._records = records
        self._documents = documents
        self._clock = clock
        self._source = source
        self._on_command = on_command
        self._page_link = page_link
        self._lock = asyncio.Lock()

    async def execute(self, request: Mapping[str, Any], sender: str) -> dict[str, Any]:
        """The answer: {"ok": true, "message"} or {"ok": false, "message", "hint"}. Never raises for a bad command.

        `sender` is the account that sent it.
        """
        try:
            async with self._lock:  # the same command twice at once is one command
                return await self._execute(request, sender)
        except AgentError as error:
            return {"ok": False, "message": str(error), "hint": error.hint}

    async def _execute(self, request: Mapping[str, Any], sender: str) -> dict[str, Any]:
        command_id, verb, name = request.get("id"), request.get("verb"), request.get("name")
        if not isinstance(command_id, str) or not 8 <= len(command_id) <= 64 or not isinstance(verb, str):
            raise AgentError("That is no command.", "use the commands of the same version as the agent")
        if verb == PAGE and self._page_link is not None:
            if self._store.command_answer(command_id) is None:
                await self._record_command(Command(id=command_id, verb=verb, sender=sender), "")
            return {"ok": True, "message": self._page_link()}  # a secret: the store does not remember this answer
        if verb not in VERBS:
            raise AgentError("That is no command.", "use the commands of the same version as the agent")
        if (answer := self._store.command_answer(command_id)) is not None:
            return {"ok": True, "message": answer}
        known = request.get("uid")  # of whichever source: a store may hold one name of several
        uid = (
            known
            if isinstance(known, str)
            else self._store.keys.uid(self._source, name)
            if isinstance(name, str)
            else None
        )
        message = await VERBS[verb](self, uid, request)
        await self._record_command(Command(id=command_id, verb=verb, uid=uid, sender=sender), message)
        return {"ok": True, "message": message}

    async def _record_command(self, command: Command, answer: str) -> None:
        await self._store.apply_command(command, answer, self._clock.now())
        self._on_command(command)

    def _find_record(self, uid: str | None, name: object) -> Record:
        record = self._store.get(uid) if uid is not None else None
        if record is None:
            raise UnknownRequest(str(name))
        return record

    async def _resolve(self, uid: str | None, request: Mapping[str, Any]) -> str:
        record = self._find_record(uid, request.get("name"))
        if record.hold is None:
            raise AgentError(f"{record.name} is not held.", f"see where it is with `assure-agent get {record.name}`")
        try:
            answer = HoldAnswer(str(request.get("answer")))
        except ValueError:
            raise AgentError("That is no answer.", "answer with retry, abandon or adopt") from None
        dossier_id = request.get("dossierId")
        if answer is HoldAnswer.ADOPT:
            refuse_adoption(self._store, record, dossier_id)
        about = record.hold.reason.about_document
        desired = (
            await self._documents.find_document(record.name, None) if about and answer is HoldAnswer.RETRY else None
        )
        resolved = HoldResolved(
            at=self._clock.now(), hold_id=record.hold.id, answer=answer, desired=desired, dossier_id=dossier_id
        )
        await self._deliver_durably(
            record.uid, resolved, lambda now: now.hold is None or now.hold.id != resolved.hold_id
        )
        stays = about and answer is HoldAnswer.ABANDON and record.outcome is not None
        stands_value = f"; the outcome {record.outcome} stands" if stays else ""
        return f"{record.name}: {answer} of {resolved.hold_id} is obeyed{stands_value}"

    async def _rerun(self, uid: str | None, request: Mapping[str, Any]) -> str:
        record = self._find_record(uid, request.get("name"))
        token = f"command-{request['id']}"
        name = record.name or str(request["name"])  # it may have been forgotten
        desired = await self._documents.find_document(name, token)
        asked = RerunRequested(at=self._clock.now(), desired=desired, name=name)
        await self._deliver_durably(record.uid, asked, lambda now: token in now.reruns or now.next == desired)
        return f"{name}: a fresh verification was asked for"

    async def _deliver_durably(self, uid: str, observation: Observation, is_durable: Callable[[Record], bool]) -> None:
        """Tell a record, and wait until it is durable: who is driven now hears it after its call.

        Where that takes too long it is taken back: who is told to send the command again means it once.
        """
        await self._records.deliver({uid: observation})
        never, waited = asyncio.Event(), 0.0
        while not ((record := self._store.get(uid)) is not None and is_durable(record)):
            if waited > _DURABLE_TIMEOUT:
                if self._records.retract(uid, observation):
                    busy = "The request is busy with a slow call, and was told nothing."
                    raise AgentError(busy, "send the command again in a minute")
                raise AgentError(
                    "The request was told, and that is not on file yet.", "look at it before you tell it more"
                )
            await self._clock.wait(never, _POLL_SECONDS)
            waited += _POLL_SECONDS  # and not by the clock, which may be corrected meanwhile

    async def _show_personal(self, uid: str | None, request: Mapping[str, Any]) -> str:
        """Say that it may be shown, once the history says that it was (`describe --show-personal`, `claims`)."""
        record = self._find_record(uid, request.get("name"))
        kind = ClaimsDisclosed if request["verb"] == SHOW_CLAIMS else PersonalDataDisclosed
        shown = kind(at=self._clock.now())
        await self._deliver_durably(record.uid, shown, lambda now: (now.shown_at or 0.0) >= shown.at)
        return "recorded in the audit history: personal values of this request were shown"

    async def _approve(self, _: str | None, __: Mapping[str, Any]) -> str:
        now = self._clock.now()
        await self._store.remember(_APPROVED, str(now))
        if self._store.recoveries.open() is None:
            return "what waits for withdrawal, if anything does, is approved; it happens at the next scan"
        await self._store.recoveries.approve(now)
        return "approved: once Assure was asked once more what it still has, all that waits goes on"

    async def _pause(self, _: str | None, __: Mapping[str, Any]) -> str:
        if not is_paused(self._store):
            await self._store.remember(PAUSED, str(self._clock.now()))
        return "paused: nothing new is begun; what runs is observed and deleted"

    async def _resume(self, _: str | None, __: Mapping[str, Any]) -> str:
        await self._store.remember(PAUSED, "")
        return "resumed"

    async def _backed_up(self, _: str | None, request: Mapping[str, Any]) -> str:
        at = request.get("at")
        if not isinstance(at, int | float) or isinstance(at, bool):
            raise AgentError("That is no time.", "use the commands of the same version as the agent")
        await self._store.remember(BACKED_UP, str(float(at)))
        return "noted"

    async def _forget(self, uid: str | None, request: Mapping[str, Any]) -> str:
        record = self._find_record(uid, request.get("name"))
        if record.phase is not Phase.DONE or record.present:
            raise AgentError(
                f"{record.name} is not done, or its file is still there.",
                "remove the file, wait until the request is done, then forget it",
            )
        if record.discard or self._store.has_pending_image_deletions(record.uid):  # its paths go with its name
            raise AgentError(
                f"The image files of {record.name} are not deleted yet, as IMAGES_AFTER_UPLOAD says.",
                f"see why with `assure-agent explain {record.name}`, then forget it",
            )
        kept = await self._store.make_claims_unreadable(record.uid)
        if record.claims_until is not None:  # also where it was taken back once, and the claims went then
            erased = ClaimsErased(at=self._clock.now())
            await self._deliver_durably(record.uid, erased, lambda now: now.claims_until is None)
        what = "its name, labels, paths and claims" if kept else "its name, labels and paths"
        forgotten = f"forgotten: {what} are erased; its history stays"
        now = self._clock.now()
        cut_off = await self._store.forget(record.uid, now)
        if left := await self._store.forget_in_replaced(record.uid, now):
            files = ", ".join(path.name for path in left)
            forgotten += f". What `restore` set aside may still have them, and cannot be changed: remove {files}"
        if cut_off:
            return forgotten
        return (
            f"{forgotten}. Somebody reads the state file just now, so they stand in its write-ahead log for a while: a "
            "running agent tries every minute to cut it off"
        )


PAGE = "page"
SHOW_CLAIMS = "show-claims"
VERBS: dict[str, Callable[[CommandHandler, str | None, Mapping[str, Any]], Awaitable[str]]] = {
    "resolve": CommandHandler._resolve,
    "rerun": CommandHandler._rerun,
    "approve": CommandHandler._approve,
    "pause": CommandHandler._pause,
    "resume": CommandHandler._resume,
    "forget": CommandHandler._forget,
    "show-personal": CommandHandler._show_personal,
    "backed-up": CommandHandler._backed_up,
    SHOW_CLAIMS: CommandHandler._show_personal,
}


def is_paused(store: Store) -> bool:
    """Did a person pause the agent?"""
    return bool(store.recall(PAUSED))


def paused_since(kept: str | None) -> float | None:
    """What `PAUSED` says: when a person paused the agent, or None."""
    return float(kept) if kept else None
