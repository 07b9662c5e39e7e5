"""Copy a store to the other engine.

The order makes every end safe. The rows become visible in one commit, with a mark that keeps agents away from the copy.
They were compared before that. Then the local files follow, then the source gets its mark, and last the copy loses its
own. So at no time may an agent start on both. A command that was killed can be repeated: before the commit nothing is
there, and after it only the last steps are left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.core.errors import StoreDamaged, StoreError
from agent.ports import MetaKey
from agent.store.audit.checkpoints import Checkpoint, effective
from agent.store.copy.content import Content, content_of, differences
from agent.store.copy.local_files import LocalFiles, carry, refuse_other_files
from agent.store.copy.sides import TABLES, Side, Source, Target
from agent.store.rollback_detection import LAST_EVENT


class Progress(Protocol):
    """Shows how far a copy is."""

    def begin(self, step: str, rows: int) -> None:
        """The next step, with this number of rows; 0: unknown."""

    def advance(self, rows: int) -> None:
        """So many rows more are finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """The result."""

    rows: dict[str, int]  # by table
    checkpoints: int
    kept: str | None  # where the source is kept under another name
    day_keys: tuple[str, ...]  # the names of day keys that the folder of the target lacks


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A store and its files."""

    url: str
    files: LocalFiles


async def copy_store(source: Source, origin: Place, target: Target, place: Place, progress: Progress) -> Copied:
    """Copy and verify, or finish what an earlier call began. Raises StoreError, and the source is unchanged then."""
    meta, begun = await _meta(source), await unfinished_copy_of(target)
    _refuse_others(source, meta.get(MetaKey.MOVED_TO), origin, target, begun, place)
    keys = origin.files.keys(meta.get(MetaKey.KEY))
    kept_lines = await source.checkpoints(origin.files.checkpoints)
    refuse_other_files(kept_lines, place.files, keys)
    missing = await _missing_day_keys(source, place)
    source.unlock(keys)
    target.unlock(keys)
    if MetaKey.MOVED_TO not in meta:
        content = await _verified(source, kept_lines, progress)
        if begun is None:
            await _fill(source, origin, target, content, progress)
            await target.insert_checkpoints(kept_lines)
        await _compare(content, target, kept_lines, progress)
        await target.commit()
    if (identity := meta.get(MetaKey.IDENTITY)) is not None:
        carry(kept_lines, place.files, keys, identity, await _number(source, LAST_EVENT))
    kept = await source.set_aside(place.url)
    return await finish_copy(target, place, kept, missing)


async def unfinished_copy_of(target: Target) -> str | None:
    """The URL of the store that this one is an unfinished copy of; None if it is not."""
    return (await _meta(target)).get(MetaKey.COPY_OF)


async def finish_copy(target: Target, place: Place, kept: str | None = None, missing: Sequence[str] = ()) -> Copied:
    """Let agents start on a copy whose source is set aside."""
    rows = {table: await _number(target, f"SELECT count(*) FROM {table}") for table in TABLES}  # noqa: S608 - constant
    checkpoints = await target.checkpoints(place.files.checkpoints)
    await target.finish()
    return Copied(rows=rows, checkpoints=len(checkpoints), kept=kept, day_keys=tuple(missing))


async def compare_stores(source: Side, origin: Place, target: Side, place: Place, progress: Progress) -> list[str]:
    """The differences between a store and its copy, and the faults of either. Writes nothing."""
    contents = []
    for side, where in ((source, origin), (target, place)):
        side.unlock(where.files.keys((await _meta(side)).get(MetaKey.KEY)))
        progress.begin(f"reading the {side.name}", await _rows(side))
        covering = effective(await side.checkpoints(where.files.checkpoints))
        contents.append(await content_of(side, covering, progress.advance))
    ours, copied = contents
    moved = MetaKey.MOVED_TO in await _meta(source)  # its capture links are erased
    return [
        *differences(ours, copied, unlike=("links",) if moved else ()),
        *(f"{source.name}: {fault}" for fault in ours.faults),
        *(f"{target.name}: {fault}" for fault in copied.faults),
    ]


def _refuse_others(
    source: Source, moved: str | None, origin: Place, target: Target, begun: str | None, place: Place
) -> None:
    """Raise StoreError if either side belongs to another copy."""
    if moved is not None and (moved != place.url or begun is None):
        raise StoreError(f"The {source.name} was copied to {moved} before.", f"copy {moved} instead")
    if begun is not None and begun != origin.url:
        raise StoreError(
            f"The {target.name} holds an unfinished copy of {begun}.",
            f"repeat `assure-agent store copy {begun} {place.url}`, or name another target",
        )


async def _meta(side: Side) -> dict[str, str]:
    found: dict[str, str] = {}
    async for page in side.pages("SELECT key, value FROM meta"):
        found.update({key: str(value) for key, value in page})
    return found


async def _number(side: Side, sql: str) -> int:
    return next(int(row[0]) for row in [row async for page in side.pages(sql) for row in page])


async def _rows(side: Side) -> int:
    return await _number(side, "SELECT " + " + ".join(f"(SELECT count(*) FROM {table})" for table in TABLES))  # noqa: S608 - constant


async def _verified(source: Source, kept: Sequence[Checkpoint], progress: Progress) -> Content:
    """The content of the source. Raises StoreDamaged if its history is not as it was written."""
    progress.begin("verifying the source", await _rows(source))
    content = await content_of(source, effective(kept), progress.advance)
    _refuse_faults(source, content)
    return content


def _refuse_faults(side: Side, content: Content) -> None:
    if content.faults:
        raise StoreDamaged(
            f"The history of the {side.name} is not as it was written: {content.faults[0]}.",
            "see all findings with `assure-agent audit verify`",
        )


async def _fill(source: Source, origin: Place, target: Target, content: Content, progress: Progress) -> None:
    await _refuse_filled(target)
    progress.begin("copying", sum(content.rows.values()))
    for table in TABLES:
        columns = await source.columns(table)
        if columns != await target.columns(table):
            raise StoreError(
                f"The table {table} has other columns in the {source.name} than in the {target.name}.",
                "start this version of the agent on the source once: it migrates the store",
            )
        async for rows in source.rows(table, columns):
            await target.insert(table, columns, rows)
            progress.advance(len(rows))
    await target.insert("meta", ["key", "value"], [(str(MetaKey.COPY_OF), origin.url)])


async def _refuse_filled(target: Target) -> None:
    for table in TABLES:
        if await _number(target, f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT 1) AS one"):  # noqa: S608 - constant
            raise StoreError(
                f"The {target.name} is not empty: its table {table} has rows.",
                "name an empty database, or a state file that does not exist",
            )


async def _compare(content: Content, target: Target, kept: Sequence[Checkpoint], progress: Progress) -> None:
    """Raise StoreDamaged if the target is not an equal and whole copy."""
    progress.begin("verifying the copy", sum(content.rows.values()))
    copied = await content_of(target, effective(kept), progress.advance)
    _refuse_faults(target, copied)
    if different := differences(content, copied):
        raise StoreDamaged(
            f"The {target.name} differs from the source: {different[0]}.", "empty it, and repeat the command"
        )


async def _missing_day_keys(source: Source, place: Place) -> tuple[str, ...]:
    """The day keys that the folder of the target lacks. Raises StoreError if there is no folder for them."""
    names = [row[0] async for page in source.pages("SELECT DISTINCT key_id FROM claims ORDER BY 1") for row in page]
    folder = place.files.keys_dir
    if names and folder is None:
        raise StoreError(
            "The store has claims, and the database has no folder for their day keys.",
            "set KEYS_DIR to a folder that no backup of the database contains",
        )
    return tuple(name for name in names if folder is not None and not (folder / f"{name}.key").exists())
