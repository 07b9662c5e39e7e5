"""The cause of a failed git command, from its output in the C locale."""

from agent.core.source_revision import FetchFailure


class FetchError(Exception):
    """A fetch that failed. `detail` is one printable line without credentials: what git said."""

    def __init__(self, failure: FetchFailure, detail: str = "") -> None:
        super().__init__(f"{failure}: {detail}" if detail else failure)
        self.failure, self.detail = failure, detail
