"""Commands of the operator: resolve, rerun, approve, pause, resume, forget, show-* (design §9, I7).

A running agent receives commands on a socket next to the store (mode 0600): one JSON object per line, and one line as
the answer. The sender gives each command an id. A repeated id returns the stored answer, and the command is executed
once. If no agent is running, the command line takes the lock and executes the command with the same `CommandHandler`.

On a database, the command line always executes it, while replicas run. They find the command in the store
(`shared_watch.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from agent import __version__
from agent.admission.adoption import DossierUse, refuse_adoption
from agent.core.errors import AgentError, Moved, UnknownRequest
from agent.core.observations import (
    ClaimsDisclosed,
    ClaimsErased,
    HoldResolved,
    Observation,
    PersonalDataDisclosed,
    RerunRequested,
)
from agent.core.record import HoldAnswer, Phase, Record
from agent.core.source_revision import RevisionState
from agent.ports import Clock, Command, CommandStore, Documents, MetaKey, RecordPort
from agent.views.revisions import approval_sentence, refusal_sentence, short

_DURABLE_TIMEOUT = 30.0  # seconds until an observation must be durable
_POLL_SECONDS = 0.05  # seconds between two checks that it is durable
_BUSY_SECONDS = 0.25  # seconds between two tries while a replica waits for an answer of Assure


class CommandHandler:
    """Executes each command once."""

    def __init__(
        self,
        store: CommandStore,
        records: RecordPort,
        documents: Documents,
        clock: Clock,
        source: str,
        on_command: Callable[[Command], Awaitable[None]] | None = None,
        page_link: Callable[[], str] | None = None,
        revision: Callable[[], Awaitable[RevisionState | None]] | None = None,
        fetch_now: Callable[[], None] | None = None,
    ) -> None:
        """`source` is the name of the source whose requests commands name; `revision` reads its state.

        `page_link` and `fetch_now` are None while no agent runs, and `fetch_now` for a folder.
        """
        self._store = store
        self._records = records
        self._documents = documents
        self._clock = clock
        self._source = source
        self._on_command = on_command
        self._page_link = page_link
        self._revision, self._fetch_now = revision, fetch_now
        self._lock = asyncio.Lock()

    async def execute(self, request: Mapping[str, Any], sender: str) -> dict[str, Any]:
        """Return `ok` and `message`; without success also `hint`, and for an unknown request its name as `unknown`.

        Never raises for an invalid command.

        `sender` is the account that sent the command.
        """
        if request.get("verb") == VERSION:  # changes nothing, so it waits for no command and is not recorded
            return {"ok": True, "message": __version__}
        try:
            self._store.refuse_away()
            async with self._lock:  # the same command, sent twice at the same time, is executed once
                return await self._execute(request, sender)
        except UnknownRequest as error:
            return {"ok": False, "message": str(error), "hint": error.hint, "unknown": error.name}
        except AgentError as error:
            return {"ok": False, "message": str(error), "hint": error.hint}

    async def _execute(self, request: Mapping[str, Any], sender: str) -> dict[str, Any]:
        command_id, verb, name = request.get("id"), request.get("verb"), request.get("name")
        if not isinstance(command_id, str) or not 8 <= len(command_id) <= 64 or not isinstance(verb, str):
            raise _unknown_command()
        if verb == PAGE and self._page_link is not None:
            if await self._store.command_answer(command_id) is None:
                await self._record_command(Command(id=command_id, verb=verb, sender=sender), "")
            return {"ok": True, "message": self._page_link()}  # a secret, so the store does not contain this answer
        if verb not in VERBS:
            raise _unknown_command()
        if (answer := await self._store.command_answer(command_id)) is not None:
            return {"ok": True, "message": answer}
        known = request.get("uid")  # of any source: several sources may have the same name
        uid = (
            known
            if isinstance(known, str)
            else self._store.keys.uid(self._source, name)
            if isinstance(name, str)
            else None
        )
        message = await self._perform(verb, uid, request)
        await self._record_command(Command(id=command_id, verb=verb, uid=uid, sender=sender), message)
        return {"ok": True, "message": message}

    async def _perform(self, verb: str, uid: str | None, request: Mapping[str, Any]) -> str:
        """Perform a verb. Begins again for 30 s while another process changes the request or calls Assure for it."""
        never, waited = asyncio.Event(), 0.0
        while True:
            try:
                return await VERBS[verb](self, uid, request)
            except Moved:
                if waited >= _DURABLE_TIMEOUT:
                    busy = "A call to Assure is under way for the request, so nothing was changed."
                    raise AgentError(busy, "send the command again in a minute") from None
            await self._clock.wait(never, _BUSY_SECONDS)
            waited += _BUSY_SECONDS

    async def _record_command(self, command: Command, answer: str) -> None:
        await self._store.apply_command(command, answer, self._clock.now())
        if self._on_command is not None:
            await self._on_command(command)

    async def _find_record(self, uid: str | None, name: object) -> Record:
        record = await self._store.get(uid) if uid is not None else None
        if record is None:
            raise UnknownRequest(str(name))
        return record

    async def _resolve(self, uid: str | None, request: Mapping[str, Any]) -> str:
        record = await self._find_record(uid, request.get("name"))
        if record.hold is None:
            raise AgentError(f"{record.name} is not held.", f"see its state with `assure-agent get {record.name}`")
        if request.get("holdId") not in (None, record.hold.id):  # a selection was made before the hold changed
            raise AgentError(
                f"{record.name} has another hold now.", f"see it with `assure-agent explain {record.name}`"
            )
        try:
            answer = HoldAnswer(str(request.get("answer")))
        except ValueError:
            raise AgentError("Unknown resolution of a hold.", "use retry, abandon or adopt") from None
        dossier_id = request.get("dossierId")
        if answer is HoldAnswer.ADOPT:
            named = [dossier_id] if isinstance(dossier_id, str) else []
            refuse_adoption(await DossierUse.read(self._store, named), record, dossier_id)
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
        keeps = about and answer is HoldAnswer.ABANDON and record.outcome is not None
        kept = f"; the outcome {record.outcome} is kept" if keeps else ""
        return f"{record.name}: resolved {resolved.hold_id} with {answer}{kept}"

    async def _rerun(self, uid: str | None, request: Mapping[str, Any]) -> str:
        record = await self._find_record(uid, request.get("name"))
        token = f"command-{request['id']}"
        name = record.name or str(request["name"])  # the name may have been erased
        desired = await self._documents.find_document(name, token)
        asked = RerunRequested(at=self._clock.now(), desired=desired, name=name)
        await self._deliver_durably(record.uid, asked, lambda now: token in now.reruns or now.next == desired)
        return f"{name}: the agent will verify it again"

    async def _deliver_durably(self, uid: str, observation: Observation, is_durable: Callable[[Record], bool]) -> None:
        """Deliver an observation and wait until it is durable. A driven record receives it after its open call.

        After a timeout the observation is retracted, because the operator will send the command again. Raises Moved if
        another process changed the record, or waits for the answer to its call.
        """
        if await self._records.deliver({uid: observation}):
            raise Moved(uid)
        never, waited = asyncio.Event(), 0.0
        while not ((record := await self._store.get(uid)) is not None and is_durable(record)):
            if waited > _DURABLE_TIMEOUT:
                if self._records.retract(uid, observation):
                    busy = "The request waits for a slow call, so the command was not executed."
                    raise AgentError(busy, "send the command again in a minute")
                raise AgentError(
                    "The request received the command, but the result is not stored yet.",
                    "check the request with `assure-agent get` before you send another command",
                )
            await self._clock.wait(never, _POLL_SECONDS)
            waited += _POLL_SECONDS  # not by the clock, which may be corrected during the wait

    async def _show_personal(self, uid: str | None, request: Mapping[str, Any]) -> str:
        """Record a disclosure before the command shows the values (`describe --show-personal`, `claims`)."""
        record = await self._find_record(uid, request.get("name"))
        kind = ClaimsDisclosed if request["verb"] == SHOW_CLAIMS else PersonalDataDisclosed
        shown = kind(at=self._clock.now())
        await self._deliver_durably(record.uid, shown, lambda now: (now.shown_at or 0.0) >= shown.at)
        return "recorded in the audit log: personal values of this request were shown"

    async def _approve(self, _: str | None, request: Mapping[str, Any]) -> str:
        now = self._clock.now()
        revision = await self._approve_revision(request.get("revision"))
        await self._store.remember(MetaKey.APPROVED, now)
        if await self._store.recoveries.open() is None:
            answer = "approved: the agent withdraws the waiting requests, if any, at its next scan"
        else:
            await self._store.recoveries.approve(now)
            answer = "approved: the agent reads from Assure which dossiers exist, then all waiting requests continue"
        if self._fetch_now is not None:
            self._fetch_now()
        return answer + revision

    async def _approve_revision(self, shown: object) -> str:
        """Approve the refused revision of the source. Returns what is said about it.

        `shown` is the one that the operator saw, empty without one. Raises AgentError if another one waits now.
        """
        state = await self._revision() if self._revision is not None else None
        refused = state.refused if state is not None else None
        waiting = refused.revision if refused is not None and refused.reason.needs_approval else ""
        if shown not in (None, waiting):
            raise AgentError(
                f"Nothing was approved: {f'revision {short(waiting)}' if waiting else 'no revision'} waits now.",
                "see what it changes with `assure-agent plan`, then approve again",
            )
        if state is None or refused is None:
            return ""
        if (sentence := approval_sentence(state)) is None:
            return f"; but {refusal_sentence(refused)[0]}: a signature cannot be approved"
        await self._store.remember(MetaKey.REVISION_APPROVED, refused.revision)
        return f"; {sentence}"

    async def _pause(self, _: str | None, __: Mapping[str, Any]) -> str:
        if await self._store.recall_time(MetaKey.PAUSED) is None:
            await self._store.remember(MetaKey.PAUSED, self._clock.now())
        return "paused: the agent starts nothing new, and continues to poll and delete what is at Assure"

    async def _resume(self, _: str | None, __: Mapping[str, Any]) -> str:
        await self._store.remember(MetaKey.PAUSED, None)
        return "resumed"

    async def _backed_up(self, _: str | None, request: Mapping[str, Any]) -> str:
        at = request.get("at")
        if not isinstance(at, int | float) or isinstance(at, bool):
            raise AgentError("Invalid time of a backup.", "use the command line of the same version as the agent")
        await self._store.remember(MetaKey.BACKED_UP, float(at))
        return "recorded"

    async def _forget(self, uid: str | None, request: Mapping[str, Any]) -> str:
        record = await self._find_record(uid, request.get("name"))
        refuse_to_forget(record)
        if record.discard or await self._store.has_pending_image_deletions(
            record.uid
        ):  # `forget` erases the paths as well
            raise AgentError(
                f"The agent has not deleted the image files of {record.name} yet, as IMAGES_AFTER_UPLOAD requires.",
                f"see why with `assure-agent explain {record.name}`, then forget it",
            )
        kept = await self._store.make_claims_unreadable(record.uid)
        if record.claims_until is not None:  # also if the claims were erased with an earlier withdrawal
            erased = ClaimsErased(at=self._clock.now())
            await self._deliver_durably(record.uid, erased, lambda now: now.claims_until is None)
        what = "its name, labels, paths and claims" if kept else "its name, labels and paths"
        forgotten = f"forgotten: {what} are erased, and its audit log remains"
        now = self._clock.now()
        complete = await self._store.forget(record.uid, now)
        if left := await self._store.forget_in_replaced(record.uid, now):
            files = ", ".join(path.name for path in left)
            forgotten += f". Files that `restore` replaced may still contain them and cannot be changed: remove {files}"
        return forgotten if complete else f"{forgotten}. {self._store.leftover}"


def refuse_to_forget(record: Record) -> None:
    """Raise AgentError unless the request is done and its file was removed."""
    if record.phase is not Phase.DONE or record.present:
        raise AgentError(
            f"{record.name} is not done, or its file still exists.",
            "remove the file, wait until the request is done, then forget it",
        )


PAGE = "page"
VERSION = "version"
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


def _unknown_command() -> AgentError:
    return AgentError("Unknown command.", "use the command line of the same version as the agent")
