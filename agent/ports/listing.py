"""GET processes, page by page, as one list."""

from agent.core.answer import Done
from agent.core.assure_types import ListedProcess, Status
from agent.ports import Remote

PAGE = 2000  # rows in a page, the most there are (contract §9)


async def listed_processes(remote: Remote, since: float, statuses: tuple[Status, ...]) -> list[ListedProcess] | None:
    """All that were created since then, in any of these statuses (all, when empty); None when they cannot be had."""
    rows: list[ListedProcess] = []
    offset, total = 0, 1
    while offset < total:
        page = await remote.list_processes(since, statuses, offset, PAGE)
        if not isinstance(page, Done):
            return None
        rows += page.value.processes
        offset, total = offset + PAGE, page.value.total
    return rows
