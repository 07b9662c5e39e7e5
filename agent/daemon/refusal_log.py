"""Log lines for refused request files. They contain no name of a file [I6]."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from structlog.typing import FilteringBoundLogger

from agent.source.diagnostics import SOURCE_FOLDER, Fault

_MAX_REFUSAL_LINES = 100  # per scan: a broken template may fault every file of the source


def log_new_refusals(
    log: FilteringBoundLogger, digest: Callable[[bytes], str], before: Iterable[Fault], now: Iterable[Fault]
) -> None:
    """Log each file that is refused now, and was not refused before or has other faults.

    `digest` is the keyed digest of a file's name.
    """
    earlier, refused = _by_file(before), _by_file(now)
    fresh = [file for file in refused if earlier.get(file) != refused[file]]
    for file in fresh[:_MAX_REFUSAL_LINES]:
        log.warning(
            "refused a file",
            digest=digest(file.encode(errors="surrogateescape"))[:12],
            line=refused[file][0].line,
            column=refused[file][0].column,
            count=len(refused[file]),
            hint="`assure-agent get` and the status page show the file, the cause and the remedy",
        )
    if len(fresh) > _MAX_REFUSAL_LINES:
        log.warning("refused more files", count=len(fresh) - _MAX_REFUSAL_LINES)


def _by_file(faults: Iterable[Fault]) -> Mapping[str, Sequence[Fault]]:
    """The faults of each file, without those of the source folder itself."""
    found: dict[str, list[Fault]] = {}
    for fault in faults:
        if fault.file != SOURCE_FOLDER:
            found.setdefault(fault.file, []).append(fault)
    return found
