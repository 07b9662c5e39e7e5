"""Why a YAML file of settings cannot be read: where, and no value of it."""

from pathlib import Path

DOTENV = ".env"
YAML_FILE = "assure-agent.yaml"
SECRETS = Path("/run/secrets")


def misread(error: Exception, file: str = YAML_FILE) -> str:
    """The place in the file, and the character that YAML does not allow."""
    from yaml.reader import ReaderError  # late: a command that reads no YAML does without it

    place = getattr(error, "problem_mark", None)
    if place is not None:
        return f"{file}:{place.line + 1}:{place.column + 1} is no YAML"
    if isinstance(error, ReaderError) and not isinstance(error.character, bytes):
        return f"{file} has a control character, U+{error.character:04X}"
    return f"{file} is no YAML"
