"""The settings of the source: a folder, or a git repository."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator, model_validator

from agent.platform.assure_settings import AssureSettings
from agent.platform.repository_address import (
    checked_branch,
    checked_folder,
    checked_repository,
    checked_web_page,
    transport,
)
from agent.platform.settings_types import (
    Bytes,
    GivenPath,
    GivenText,
    Seconds,
    known_users,
    secrets_of,
    split_list,
)

_SHORTEST_INTERVAL = 1.0  # seconds
_SHORTEST_SECRET = 16  # characters of SOURCE_HOOK_SECRET: too long to be guessed
_SIGNERS = ("source_allowed_signers_file", "source_revoked_signers_file", "source_gpg_keyring")
_WITH_ARTICLE = {"https": "an https", "http": "an http", "ssh": "an ssh", "file": "a file"}
_ONLY_WITH_A_REPOSITORY = (
    "source_branch", "source_path", "source_interval", "source_timeout", "source_max_bytes", "source_token_file",
    "source_ssh_key_file", "source_known_hosts_file", "source_verify", *_SIGNERS, "source_hook_secret",
    "source_web_url",
)  # fmt: skip


class SourceSettings(AssureSettings):
    """The place of the request files, and the users and keys that may change them."""

    specs_dir: GivenPath = Field(
        Path("specs"), description="Folder of the request files. Each scan resolves a symbolic link again."
    )
    source_name: GivenText = Field(
        "default", description="Name of the source. It is part of every uid: never change it."
    )
    source_url: str = Field(
        "",
        description="URL of a git repository with the request files: https, ssh or file, without a password. Empty: "
        "SPECS_DIR is read.",
    )
    source_branch: GivenText = Field("main", description="Branch of that repository, without refs/heads/.")
    source_path: str = Field("", description="Folder of the request files in the repository. Empty: its top folder.")
    source_interval: Seconds = Field(30.0, description="Time between two checks of the branch, give or take a tenth.")
    source_timeout: Seconds = Field(300.0, description="Maximum time of one fetch.")
    source_max_bytes: Bytes = Field(1024**3, description="Maximum size of one fetch, in bytes or with a unit.")
    source_token_file: GivenPath | None = Field(
        None, description="File that contains the token or password for an https repository."
    )
    source_ssh_key_file: GivenPath | None = Field(None, description="Private key for an ssh repository.")
    source_known_hosts_file: GivenPath | None = Field(
        None, description="File with the keys of the ssh server, in the format of known_hosts."
    )
    source_verify: Literal["off", "head", "each"] = Field(
        "off",
        description="Signatures that a new revision needs: of its head commit, or of each new commit that changes "
        "SOURCE_PATH.",
    )
    source_allowed_signers_file: GivenPath | None = Field(
        None, description="File of the SSH keys that may sign, as gpg.ssh.allowedSignersFile of git."
    )
    source_revoked_signers_file: GivenPath | None = Field(
        None, description="File of revoked SSH keys, as gpg.ssh.revocationFile of git."
    )
    source_gpg_keyring: GivenPath | None = Field(None, description="File of the OpenPGP public keys that may sign.")
    source_hook_secret: SecretStr = Field(
        SecretStr(""),
        description="Secret of POST /hooks/source on EVENTS_LISTEN. Two, comma-separated, during a rotation.",
    )
    source_web_url: str = Field(
        "", description="Web page of the repository, for links to commits. `{commit}` is replaced by the commit."
    )
    source_owner: Annotated[list[str], BeforeValidator(split_list), AfterValidator(known_users)] = Field(
        [],
        description="Users or uids, comma-separated. Request files that any other user owns or can change are refused.",
    )
    other_documents: Literal["refuse", "ignore"] = Field(
        "refuse",
        description="Refuse or ignore documents of another apiVersion group, such as a Kustomization.",
    )

    @field_validator("source_url")
    @classmethod
    def _repository(cls, value: str) -> str:
        return checked_repository(value)

    @field_validator("source_branch")
    @classmethod
    def _branch(cls, value: str) -> str:
        return checked_branch(value)

    @field_validator("source_path")
    @classmethod
    def _folder(cls, value: str) -> str:
        return checked_folder(value)

    @field_validator("source_web_url")
    @classmethod
    def _web_page(cls, value: str) -> str:
        return checked_web_page(value)

    @field_validator("source_interval")
    @classmethod
    def _not_hasty(cls, value: float) -> float:
        if value < _SHORTEST_INTERVAL:
            raise ValueError("expected a duration of at least 1s")
        return value

    @field_validator("source_hook_secret")
    @classmethod
    def _long_enough_hook_secrets(cls, value: SecretStr) -> SecretStr:
        shortest = min(map(len, secrets_of(value)), default=_SHORTEST_SECRET)
        if shortest < _SHORTEST_SECRET:
            raise ValueError(
                f"expected {_SHORTEST_SECRET} characters or more, as of `openssl rand -base64 32`, not {shortest}"
            )
        return value

    @model_validator(mode="after")
    def _consistent_source(self) -> "SourceSettings":
        if fault := self._source_fault():
            raise ValueError(fault)
        return self

    def _source_fault(self) -> str | None:
        """A contradiction between settings of the source: it begins with the name of one. None without one."""
        if not self.source_url:
            fields = type(self).model_fields
            alone = [name for name in _ONLY_WITH_A_REPOSITORY if getattr(self, name) != fields[name].default]
            return f"{alone[0].upper()} needs SOURCE_URL: without it, the agent reads SPECS_DIR" if alone else None
        if "specs_dir" in self.model_fields_set:
            return (
                "SPECS_DIR (or --specs) is set, and SOURCE_URL as well: the agent reads one of them. Remove the other"
            )
        if self.source_owner:
            return "SOURCE_OWNER is for SPECS_DIR: the agent itself owns the files of SOURCE_URL; see SOURCE_VERIFY"
        return self._credentials_fault() or self._signers_fault()

    def _credentials_fault(self) -> str | None:
        by = transport(self.source_url)
        if self.source_token_file is not None and by not in ("https", "http"):
            return f"SOURCE_TOKEN_FILE is for an https repository, and SOURCE_URL is {_WITH_ARTICLE[by]} one"
        if by != "ssh":
            names = [name for name in ("source_ssh_key_file", "source_known_hosts_file") if getattr(self, name)]
            if not names:
                return None
            return f"{names[0].upper()} is for an ssh repository, and SOURCE_URL is {_WITH_ARTICLE[by]} one"
        if self.source_ssh_key_file is None:
            return "SOURCE_SSH_KEY_FILE is not set: an ssh repository needs it, and SOURCE_KNOWN_HOSTS_FILE"
        if self.source_known_hosts_file is None:
            return (
                "SOURCE_KNOWN_HOSTS_FILE is not set: an ssh repository needs the keys of its server, "
                "as of `ssh-keyscan`; compare them with those that the server's operator publishes"
            )
        return None

    def _signers_fault(self) -> str | None:
        signers = self.source_allowed_signers_file or self.source_gpg_keyring
        if self.source_verify != "off":
            if signers is None:
                return (
                    f"SOURCE_VERIFY is {self.source_verify}, and no key may sign: "
                    "set SOURCE_ALLOWED_SIGNERS_FILE or SOURCE_GPG_KEYRING"
                )
            if self.source_revoked_signers_file is not None and self.source_allowed_signers_file is None:
                return "SOURCE_REVOKED_SIGNERS_FILE needs SOURCE_ALLOWED_SIGNERS_FILE: it revokes SSH keys only"
            return None
        names = [name for name in _SIGNERS if getattr(self, name) is not None]
        if names:
            return (
                f"{names[0].upper()} is set, but SOURCE_VERIFY is off, so no signature counts: set it to head or each"
            )
        return None
