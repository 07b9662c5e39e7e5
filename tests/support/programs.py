"""Programs that some tests need. Without them, these tests are skipped, and the end of the run lists the reasons."""

import shutil

import pytest

_PACKAGES = {"ssh-keygen": "openssh-client", "gpg": "gnupg"}


def need(program: str) -> str:
    """The program, or skip the test."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is missing: apt-get install {_PACKAGES[program]}")
    return program
