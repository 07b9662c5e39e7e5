"""Where an agent may be killed: at each commit and each call, before and after.

The boundaries of one life are numbered as they come. An agent that is killed at one of them gets no further: what it
would write or send from then on does not happen, and its state is what the files held at that moment.
"""

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

NO_COPY = shutil.ignore_patterns("*.lock", "*.sock")


class Gate:
    """Counts boundaries over all lives, and kills at those in `fatal`. `killed` is called at that moment."""

    def __init__(self, state: Path, fatal: Collection[int] = ()) -> None:
        self.fatal = set(fatal)
        self.boundaries: list[str] = []  # what each was
        self.dead = False
        self.killed: Callable[[], None] = lambda: None
        self._state = state
        self._copy = state.with_name("as-it-was")

    def passes(self, what: str) -> bool:
        """One more boundary. False: the agent is dead and does not get past it."""
        if self.dead:
            return False
        self.boundaries.append(what)
        if len(self.boundaries) - 1 in self.fatal:
            self.kill()
        return not self.dead

    def kill(self) -> None:
        """From now on nothing that the agent does counts."""
        self.dead = True
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._state, self._copy, ignore=NO_COPY)
        self.killed()

    def revive(self) -> None:
        """The files as they were at that moment, and an agent that may act again."""
        shutil.rmtree(self._state)
        self._copy.rename(self._state)
        self.dead = False
