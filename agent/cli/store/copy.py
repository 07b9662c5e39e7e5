"""`assure-agent store copy`: copy the store from a state file to a database, or back."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import is_quiet
from agent.cli.store.copy_progress import CopyProgress
from agent.core.errors import StoreError, WrongUse
from agent.platform.settings import Settings, load_settings
from agent.platform.store_url import POSTGRES, store_url
from agent.store import copy_place, copy_reading, copy_source, copy_target, store_exists
from agent.views.phrases import count_of

if TYPE_CHECKING:
    from agent.store.copy.copying import Copied


def copy(
    source: Annotated[str, typer.Argument(metavar="SRC", help="URL of the store, as STATE_URL.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="URL of an empty database or of a new state file.")],
    verify_only: Annotated[
        bool, typer.Option("--verify-only", help="Compare both stores, and change nothing.")
    ] = False,
) -> None:
    """Copy the store to another engine, while no agent runs.

    One of the URLs names a state file, the other a PostgreSQL database. The command verifies the history of the source,
    copies every row, and verifies that the copy is equal. It also copies the key, the mark and the checkpoints, to
    KEY_FILE and STATE_DIR or next to the state file. Then no agent starts on the source: a state file gets
    another name, a database a mark. If the command is interrupted, repeat it.

    Exit codes: 0 copied or equal, 1 error, an agent is running, or the stores differ, 2 wrong use.

    Example: assure-agent store copy sqlite:///state/agent.db postgresql://agent@db.example/agent
    """
    origin, copied = _both(source, target)
    with CopyProgress(is_quiet()) as progress:
        if verify_only:
            different = asyncio.run(_compare(origin, copied, progress))
        else:
            result = asyncio.run(_copy(origin, copied, progress))
    if not verify_only:
        _print(result, copied)
    elif different:
        typer.echo("\n".join(different))
        raise typer.Exit(1)
    else:
        typer.echo("both stores are equal, and their histories are as the agent wrote them")


def _both(source: str, target: str) -> tuple[Settings, Settings]:
    """The settings of both stores. Those of the database are loaded: a state file has its files in its folder.

    Raises WrongUse unless one URL names a database and the other a state file.
    """
    urls = []
    for name, url in (("SRC", source), ("DST", target)):
        try:
            urls.append(store_url(url))
        except ValueError as error:
            raise WrongUse(f"{name}: {error}.", "see `assure-agent store copy --help`") from None
    databases = [url for url in urls if url.startswith(POSTGRES)]
    if len(databases) == 2:
        raise WrongUse("SRC and DST both name a database.", "pg_dump and pg_restore")
    if not databases:
        raise WrongUse("SRC and DST both name a state file.", "`assure-agent backup` and `assure-agent restore`")
    settings = load_settings(state_url=databases[0])
    origin, copied = (settings.model_copy(update={"state_url": url}) for url in urls)
    return origin, copied


async def _copy(origin: Settings, copied: Settings, progress: CopyProgress) -> "Copied":
    from agent.store.copy.copying import copy_store, finish_copy, unfinished_copy_of

    source_place, place = copy_place(origin), copy_place(copied)
    if not store_exists(origin):
        if store_exists(copied):
            async with copy_target(copied) as target:
                if await unfinished_copy_of(target) == source_place.url:  # interrupted after the renaming
                    return await finish_copy(target, place)
        kind, where = origin.store_place
        raise StoreError(f"There is no {kind} at {where}.", "check the URL of the source")
    async with copy_source(origin) as source, copy_target(copied) as target:
        return await copy_store(source, source_place, target, place, progress)


async def _compare(origin: Settings, copied: Settings, progress: CopyProgress) -> list[str]:
    from agent.store.copy.copying import compare_stores

    async with copy_reading(origin) as source, copy_reading(copied) as target:
        return await compare_stores(source, copy_place(origin), target, copy_place(copied), progress)


def _print(result: "Copied", copied: Settings) -> None:
    rows = result.rows
    typer.echo(
        f"copied {count_of(rows['requests'], 'request')} and {count_of(rows['events'], 'event')} to the "
        f"{copied.store_name}; the rows of {len(rows)} tables are equal, and the journal is that of "
        f"{count_of(result.checkpoints, 'checkpoint')}"
    )
    if result.kept is not None:
        typer.echo(f"the source, with names, is kept as {result.kept}; remove it when you can")
    if result.day_keys:
        typer.echo(
            f"move {count_of(len(result.day_keys), 'day key')} of claims, such as {result.day_keys[0]}.key, to "
            f"{copy_place(copied).files.keys_dir}; a copy of them would outlive the claims"
        )
    typer.echo(f"set ASSURE_AGENT_STATE_URL={copied.state_url} and start the agent")
