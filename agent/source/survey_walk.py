"""The walk that surveys the names in the source folder."""

import os
import stat

from agent.source.ignore import Ignore
from agent.source.safe_read import FileIdentity
from agent.source.scan import FolderScan, ScanOptions
from agent.source.survey import Survey

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class SurveyWalk(FolderScan):
    """A walk through the same files as a scan that only surveys their names.

    The scan that follows reads each file again, safely, and reports its faults. A file that the survey cannot read has
    no unique name, so that no document of it is handed over early.
    """

    def __init__(self, root: str, options: ScanOptions, ignore: Ignore) -> None:
        super().__init__(root, {}, {}, options, ignore)
        self.survey = Survey(options.limits)

    def _changed(self, path: str, status: os.stat_result, now: FileIdentity) -> None:
        size = status.st_size
        if not stat.S_ISREG(status.st_mode) or size > self._options.limits.file_bytes:
            return
        try:
            file = os.open(f"{self._root}/{path}", _FLAGS)
            try:
                content = os.read(file, size)
            finally:
                os.close(file)
        except OSError:
            return
        if len(content) == size:
            self.survey.add(path, content)
