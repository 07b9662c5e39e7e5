"""Sentences about a git source: why a fetch failed, and why the agent does not act on a revision.

A sentence begins with a small letter and has no full stop; the hint is what the operator can do. Neither contains an
address, a credential or a signer.
"""

from typing import Final

from agent.core.source_revision import FetchFailure, RefusedRevision, RevisionRefusal, RevisionState
from agent.core.timestamps import format_timestamp
from agent.views.phrases import capitalized

_SHORT = 12  # digits of a commit in a sentence

_FAILURES: Final = {
    FetchFailure.AUTHENTICATION: (
        "the git server does not accept the credentials",
        "check that the token in ASSURE_AGENT_SOURCE_TOKEN_FILE, or the key in ASSURE_AGENT_SOURCE_SSH_KEY_FILE, is "
        "valid and may read the repository",
    ),
    FetchFailure.DNS: (
        "the name of the git server is unknown",
        "check the host in ASSURE_AGENT_SOURCE_URL and the name servers of this machine",
    ),
    FetchFailure.TLS: (
        "the certificate of the git server is not trusted",
        "add its authority to ASSURE_AGENT_CA_FILE, or renew the certificate",
    ),
    FetchFailure.HOST_KEY: (
        "the ssh key of the git server is not a known one",
        "compare the key with the one that the server's administrator publishes, then add it to "
        "ASSURE_AGENT_SOURCE_KNOWN_HOSTS_FILE",
    ),
    FetchFailure.NETWORK: (
        "the git server cannot be reached, or the connection ended early",
        "check the server, the proxy and the firewall",
    ),
    FetchFailure.NOT_FOUND: (
        "the git server has no such repository, or does not show it to these credentials",
        "check the path in ASSURE_AGENT_SOURCE_URL, and that the credentials may read it",
    ),
    FetchFailure.MOVED: (
        "the git server redirects to another address",
        "set ASSURE_AGENT_SOURCE_URL to the new address if you trust it: the agent sends no token after a redirect",
    ),
    FetchFailure.NO_BRANCH: (
        "the repository does not have the branch",
        "restore the branch, or correct ASSURE_AGENT_SOURCE_BRANCH",
    ),
    FetchFailure.NO_PATH: (
        "the branch does not have the folder of the request files",
        "restore the folder, or correct ASSURE_AGENT_SOURCE_PATH",
    ),
    FetchFailure.TOO_LARGE: (
        "the fetch is larger than ASSURE_AGENT_SOURCE_MAX_BYTES",
        "remove the large files from the repository, or raise the limit",
    ),
    FetchFailure.TIMEOUT: (
        "the fetch took longer than ASSURE_AGENT_SOURCE_TIMEOUT",
        "check the connection to the git server, or raise the limit",
    ),
    FetchFailure.DAMAGED: (
        "the repository contains an invalid object or name, or only a part of its history",
        "check the repository on the server with `git fsck`; complete a shallow one with `git fetch --unshallow`",
    ),
    FetchFailure.NO_GIT: (
        "the program git, or ssh, is missing or too old",
        "install it; `assure-agent doctor` names the version that the agent needs",
    ),
    FetchFailure.DISK: (
        "the folder of the git source, next to the state file, cannot be written",
        "free disk space, and let the agent's user write to the folder",
    ),
    FetchFailure.OTHER: (
        "the fetch failed",
        "see the cause with `assure-agent doctor`",
    ),
}

_AMEND: Final = "git commit --amend --no-edit -S"
_SIGN_HEAD: Final = (
    f"sign it with an allowed key: `{_AMEND}`, then `git push --force-with-lease`; with "
    "ASSURE_AGENT_SOURCE_VERIFY=head, a signed commit on top of it is enough"
)
_SIGN_OLDER: Final = (
    f"sign it and all later commits with allowed keys: `git rebase --exec '{_AMEND}' {{commit}}~1`, then "
    "`git push --force-with-lease`"
)
_SIGN_DOCUMENT: Final = "push a commit that changes the file, if only a comment, and is signed with an allowed key"

_REFUSALS: Final = {
    RevisionRefusal.NOT_DESCENDED: (
        "it does not descend from the revision that the agent acts on",
        "compare both, then push a descendant, or run `assure-agent approve`",
    ),
    RevisionRefusal.UNSIGNED: ("commit {commit} has no signature", _SIGN_HEAD),
    RevisionRefusal.BAD_SIGNATURE: (
        "the signature of commit {commit} does not match its content",
        "find out who changed the commit; do not sign it before you do",
    ),
    RevisionRefusal.UNKNOWN_SIGNER: (
        "commit {commit} is signed by a key that is not allowed, or was not at its time",
        "if you know the signer, add the key to ASSURE_AGENT_SOURCE_ALLOWED_SIGNERS_FILE or "
        "ASSURE_AGENT_SOURCE_GPG_KEYRING",
    ),
    RevisionRefusal.EXPIRED_KEY: (
        "commit {commit} is signed by a key that has expired, or was not valid yet",
        _SIGN_HEAD,
    ),
    RevisionRefusal.REVOKED_KEY: ("commit {commit} is signed by a revoked key", _SIGN_HEAD),
    RevisionRefusal.UNVERIFIED: (
        "the signature of commit {commit} cannot be checked",
        "see the cause with `assure-agent doctor`: usually gpg or ssh-keygen, or a file of keys, is missing",
    ),
}


def short(commit: str) -> str:
    """The first digits of a commit, as sentences and logs name it."""
    return commit[:_SHORT]


def failure_sentence(failure: FetchFailure, detail: str = "") -> tuple[str, str]:
    """Why the last fetch failed, with the detail of git if there is one; a hint."""
    sentence, hint = _FAILURES[failure]
    return f"{sentence} ({detail})" if detail else sentence, hint


def refusal_sentence(refused: RefusedRevision) -> tuple[str, str]:
    """Why the agent does not act on a fetched revision, and a hint."""
    cause, hint = _REFUSALS[refused.reason]
    if hint == _SIGN_HEAD and refused.commit != refused.revision:  # nothing on top of it helps
        hint = _SIGN_OLDER.format(commit=short(refused.commit))
    cause = cause.format(commit=short(refused.commit))
    return f"the agent does not act on revision {short(refused.revision)}, because {cause}", hint


def approval_sentence(state: RevisionState) -> str | None:
    """The effect of an approval on the refused revision; None if no approval helps."""
    refused, acted = state.refused, state.acted
    if refused is None or not refused.reason.needs_approval:
        return None
    old = short(acted.commit) if acted is not None else "the last one"
    acts = f"the agent acts on revision {short(refused.revision)}, which does not descend from {old}"
    return f"{acts}, if its signatures are as SOURCE_VERIFY requires"


def with_hint(sentence: str, hint: str) -> str:
    """A line for people: the sentence, and the remedy."""
    return f"{capitalized(sentence)}. Try: {hint}."


def unsigned_document(refusal: RevisionRefusal, commit: str | None) -> tuple[str, str]:
    """Why admission refuses a document whose last change does not have the signature of an allowed signer; a hint."""
    cause, hint = _REFUSALS[refusal]
    if hint == _SIGN_HEAD:  # the agent may act on that commit already, so that a force push would be held
        hint = _SIGN_DOCUMENT
    return f"its last change counts only with a good signature: {cause.format(commit=short(commit or '?'))}", hint


def troubles(state: RevisionState) -> list[tuple[str, str]]:
    """The reasons why the agent does not act on the newest revision, as sentences that name the time; with hints."""
    found = []
    if state.failure is not None:
        sentence, hint = failure_sentence(state.failure)
        since = f", since {format_timestamp(state.failing_since)}" if state.failing_since is not None else ""
        found.append((f"{sentence}{since}", hint))
    if state.refused is not None:
        sentence, hint = refusal_sentence(state.refused)
        found.append((f"{sentence} (since {format_timestamp(state.refused.since)})", hint))
    return found
