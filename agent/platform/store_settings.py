"""The settings of the store: a state file or a PostgreSQL database, the files next to it, and backups."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from agent.core.errors import SettingsError, WrongUse
from agent.platform.settings_types import GivenPath, Seconds, optional
from agent.platform.source_settings import SourceSettings
from agent.platform.store_url import POSTGRES, store_url

# A state file has the files in its folder, and one agent.
OF_DATABASE = ("state_password_file", "state_dir", "key_file", "keys_dir", "replica_lease")
OF_FILE = ("backup_dir",)


class StoreSettings(SourceSettings):
    """The store. `Settings` inherits them."""

    state_url: Annotated[str, AfterValidator(store_url)] = Field(
        "sqlite:///state/agent.db",
        description="URL of the state file, with three slashes before a relative path, or four before an absolute one. "
        "Or of a PostgreSQL database: postgresql://USER@HOST/DATABASE, with parameters such as sslrootcert=FILE, "
        "sslcert=FILE, sslkey=FILE, host=FOLDER of a Unix socket, and statement_cache_size=0 for PgBouncer before "
        "1.21. TLS checks the host name, except on this machine.",
    )
    state_password_file: GivenPath | None = Field(
        None,
        description="File that contains the password of the database user. It is read at each connection, so that the "
        "password may change.",
    )
    state_dir: GivenPath = Field(
        Path("state"), description="Folder of the files that stay on this machine if STATE_URL names a database."
    )
    key_file: GivenPath | None = Field(
        None, description="File with the agent's key if STATE_URL names a database. Empty: agent.key in STATE_DIR."
    )
    keys_dir: GivenPath | None = Field(
        None, description="Folder of the day keys of claims, outside of all backups. A database needs it for claims."
    )
    replica_lease: Seconds = Field(
        15.0,
        ge=1.0,
        le=120.0,
        description="Time until other replicas on the same database continue the work of one that was killed or cut "
        "off. A replica renews its lease three times in that time.",
    )
    backup_dir: Annotated[Path | None, BeforeValidator(optional)] = Field(
        None, description="Existing folder for periodic backups of a state file. Empty: no backups."
    )
    backup_interval: Seconds = Field(86400.0, description="Time between two backups.")
    backup_keep: int = Field(7, ge=1, description="Number of backups to keep.")

    @model_validator(mode="after")
    def _settings_of_one_engine(self) -> "StoreSettings":
        fields = type(self).model_fields
        other = OF_FILE if self.uses_database else OF_DATABASE
        for name in other:
            if getattr(self, name) != fields[name].default:
                raise ValueError(f"{name.upper()} has no effect: {_REASONS[self.uses_database]}. Remove it")
        return self

    @property
    def uses_database(self) -> bool:
        """True if STATE_URL names a PostgreSQL database."""
        return self.state_url.startswith(POSTGRES)

    @property
    def store_place(self) -> tuple[str, str]:
        """The store, as messages name it: its kind and its place. The URL of a database contains no password."""
        return ("database", self.state_url) if self.uses_database else ("state file", str(self.state_path))

    @property
    def store_name(self) -> str:
        """The kind and the place of the store."""
        return " ".join(self.store_place)

    @property
    def local_path(self) -> Path:
        """The state file; with a database, the path in STATE_DIR that the names of the local files begin with."""
        return self.state_dir / "agent" if self.uses_database else self.state_path

    @property
    def key_path(self) -> Path:
        """The file with the agent's key."""
        return self.key_file or self.local_path.with_name("agent.key")

    @property
    def claims_keys_dir(self) -> Path:
        """The folder of the day keys of claims."""
        return self.keys_dir or self.local_path.with_name("keys")

    @property
    def state_path(self) -> Path:
        """The state file. A symbolic link is resolved, because key and lock are next to the file itself.

        Raises WrongUse if STATE_URL names a database.
        """
        if self.uses_database:
            raise WrongUse(
                "This command is for a state file, and STATE_URL names a database.",
                "see docs/operations/postgresql.md for the command of the database",
            )
        path = Path(self.state_url.removeprefix("sqlite:///"))
        try:
            return path.resolve() if path.is_symlink() else path
        except (OSError, RuntimeError):
            raise SettingsError(
                f"ASSURE_AGENT_STATE_URL: the symbolic link {path} leads to itself.", "set it to a file"
            ) from None


_REASONS = {
    True: "STATE_URL names a database, and the server makes its backups (pg_dump, or an archive of its log)",
    False: "it is for a database, and STATE_URL names a state file, whose key and other files are in its folder",
}
