"""The migrations of this version, and the names of the functions that belong to the last one.

In the database, each function has the number of its migration in its name, as in `commit_batch_1`. So a newer version
adds its functions next to those of an older one, and replicas of both versions work on one database.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
_DEFINED = re.compile(r"^CREATE OR REPLACE FUNCTION (\w+)\(", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A script in `schema`. Replicas of a version before `oldest` can no longer use the database after it."""

    name: str
    oldest: str  # the name of a migration

    @property
    def script(self) -> str:
        """Its SQL, without the functions."""
        return (_HERE / "schema" / f"{self.name}.sql").read_text()


MIGRATIONS = (Migration(name="0001_initial", oldest="0001_initial"),)
NAMES = tuple(one.name for one in MIGRATIONS)
NUMBER = int(NAMES[-1].partition("_")[0])


@cache
def function_names() -> tuple[str, ...]:
    """The functions of this version, as the files in `functions` name them."""
    return tuple(sorted(_DEFINED.findall(_functions())))


def function_definitions() -> str:
    """The SQL that defines the functions of this version."""
    return versioned(_functions())


@cache
def _functions() -> str:
    return "\n".join(file.read_text() for file in sorted((_HERE / "functions").glob("*.sql")))


@cache
def _calls() -> re.Pattern[str]:
    return re.compile(rf"\b({'|'.join(function_names())})(?=\()")


def versioned(sql: str) -> str:
    """The SQL with the number in the name of each function of this version."""
    return _calls().sub(rf"\g<1>_{NUMBER}", sql)
