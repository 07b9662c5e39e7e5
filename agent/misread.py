"""Why the files of the settings cannot be read: which one, where, and no value of it."""

from pathlib import Path

DOTENV = ".env"
YAML_FILE = "assure-agent.yaml"
SECRETS = Path("/run/secrets")


def misread(error: Exception) -> str:
    """What went wrong in which file, and in which line where that is known."""
    from yaml.reader import ReaderError  # late: a command that reads no YAML does without it

    place = getattr(error, "problem_mark", None)
    if place is not None:
        return f"{YAML_FILE}:{place.line + 1}:{place.column + 1} is no YAML"
    if isinstance(error, ReaderError) and not isinstance(error.character, bytes):
        return f"{YAML_FILE} has a control character, U+{error.character:04X}"
    if isinstance(error, UnicodeDecodeError):
        return f"{_no_text()} is not UTF-8"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return f"{YAML_FILE}: expected names of settings, each with its value"


def _no_text() -> str:
    """The file and its line; the error itself knows only the bytes."""
    for name in (DOTENV, YAML_FILE):
        try:
            Path(name).read_bytes().decode()
        except UnicodeDecodeError as error:
            return f"{name}:{error.object.count(10, 0, error.start) + 1}"
        except OSError:
            continue
    return f"a file in {SECRETS}"
