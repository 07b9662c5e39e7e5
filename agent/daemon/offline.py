"""Commands through the store: while no agent has the state file, or while replicas use the database."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent.admission import Admission, AdmissionRules
from agent.admission.revision_sync import state_of
from agent.assure.document_type_cache import DocumentTypeCache, OfflineDocumentTypes
from agent.core.errors import AgentError
from agent.daemon.commands import CommandHandler
from agent.daemon.offline_records import OfflineRecords
from agent.daemon.peer_credentials import own_account
from agent.platform.clock import Anchor, SystemClock
from agent.platform.settings import Settings
from agent.ports import MetaKey
from agent.source.choice import source_of
from agent.source.folder_source import FolderSource
from agent.store import open_store

_READS_DOCUMENTS = ("resolve", "rerun")  # commands that need a revision of a git source


def execute_offline(settings: Settings, request: Mapping[str, Any]) -> dict[str, Any]:
    """Execute one command. Raises StoreLocked if an agent has the state file, or a copy is made of the database."""
    return asyncio.run(_execute(settings, request))


async def _execute(settings: Settings, request: Mapping[str, Any]) -> dict[str, Any]:
    store = await open_store(settings, None)
    try:
        clock = SystemClock()
        clock.resume(await store.last_event_at(), Anchor.read(await store.recall(MetaKey.CLOCK)))
        recovering = await store.recoveries.open() is not None
        policy = replace(settings.policy, recovering=recovering, clock_unconfirmed=not clock.confirmed)
        records = OfflineRecords(store, clock, policy)
        rules = AdmissionRules.of(settings, store.keys.agent_id())
        types = DocumentTypeCache(OfflineDocumentTypes(), store, clock)
        source = source_of(settings)
        if request.get("verb") in _READS_DOCUMENTS and not isinstance(source, FolderSource):
            acted = (await store.revision_state(settings.source_name)).acted
            approved = await store.recall(MetaKey.REVISION_APPROVED)
            source.refresh(acted.commit if acted is not None else None, approved)
        admission = Admission(source, rules, store, records, store.keys, types, clock)
        revision = state_of(settings, store)
        control = CommandHandler(store, records, admission, clock, settings.source_name, revision=revision)
        answer = await control.execute(request, own_account())
        with contextlib.suppress(AgentError):  # the command is executed; the next agent truncates the log
            await store.tidy()
        return answer
    finally:
        await store.aclose()
