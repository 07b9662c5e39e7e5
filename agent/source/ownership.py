"""Other users who could change a request file: by ownership, by write permission, or by another hard link.

Without SOURCE_OWNER the agent reports such a file and admits it. Then only write permission for everybody counts,
because a umask of 002 is usual. With SOURCE_OWNER the agent refuses the file, and write permission for the group counts
as well. ACLs appear in the permissions of the group. Folders above the source are not checked.
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from agent.platform.settings_types import uid_of
from agent.source.diagnostics import Fault, printable_path


@dataclass(frozen=True, slots=True)
class Owners:
    """The users whose request files are accepted, by uid. None: all users.

    `exempt` files are not checked: the agent exported them itself, into a folder that no other user can enter.
    """

    uids: frozenset[int] | None = None
    exempt: bool = False

    @classmethod
    def of(cls, users: Iterable[str]) -> "Owners":
        """From names and uids, as SOURCE_OWNER has them."""
        return cls(frozenset(map(uid_of, users)) or None)

    @property
    def refuse(self) -> bool:
        """True if files that other users can change are refused; otherwise they are only reported."""
        return self.uids is not None

    def of_file(self, path: str, status: os.stat_result) -> Fault | None:
        """Why other users could change this request file, or None. `status` is that of a link's target."""
        if self.exempt:
            return None
        if self.uids is not None and status.st_uid not in self.uids:
            message = f"the file belongs to uid {status.st_uid}, which is not in SOURCE_OWNER"
            return _fault(
                path, message, "change its owner to a user of SOURCE_OWNER (chown), or add its owner to SOURCE_OWNER"
            )
        if status.st_nlink > 1:
            message = f"the file has {status.st_nlink} hard links, and can be changed through each of them"
            return _fault(path, message, "replace it with a copy (cp, then mv)")
        return self._writable(path, "file", status)

    def of_folder(self, path: str, folder: str) -> Fault | None:
        """The same for a folder of request files at `folder`. Raises OSError.

        Root and the agent's user may own it. A Kubernetes volume is writable for everybody and mounted read-only.
        """
        if self.exempt:
            return None
        status = os.stat(folder)  # noqa: PTH116 - no Path objects here
        if self.uids is not None and status.st_uid not in {*self.uids, 0, os.geteuid()}:
            message = f"the folder belongs to uid {status.st_uid}, which is not in SOURCE_OWNER"
            return _fault(
                path, message, "change its owner to a user of SOURCE_OWNER (chown), or add its owner to SOURCE_OWNER"
            )
        found = None if status.st_mode & stat.S_ISVTX else self._writable(path, "folder", status)
        return None if found is None or os.statvfs(folder).f_flag & os.ST_RDONLY else found

    def _writable(self, path: str, kind: str, status: os.stat_result) -> Fault | None:
        if not status.st_mode & (0o022 if self.refuse else 0o002):
            return None
        message = f"other users can write the {kind} (mode {stat.S_IMODE(status.st_mode):04o})"
        return _fault(path, message, f"chmod {'go' if self.refuse else 'o'}-w {printable_path(path) or '.'}")


def _fault(path: str, message: str, hint: str) -> Fault:
    return Fault(file=printable_path(path) or ".", message=message, hint=hint)
