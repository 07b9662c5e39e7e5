"""The closed words of an error body of Assure or its gateway: type, title and code (contract §2).

Error texts may contain personal data. Only words of `KNOWN` are kept, so no value of a request can appear [I6].
"""

import re
from typing import Final

_NAMES: Final = (
    "dossier|process|provider|document|pages|external|reference|event|tags|redirect|domain|profile|capture|image|"
    "images|depiction|front|back|selfie|portrait|verification|signicatpictureid|pictureid"
)
_PROTOCOL: Final = (
    "api|account|accept|access|argument|auth|authentication|authorization|base|bearer|body|client|code|conflict|"
    "content|credentials|data|endpoint|error|expired|field|file|forbidden|format|header|id|ids|invalid|json|jwt|key|"
    "length|limit|malformed|media|mandatory|message|method|missing|parameter|parameters|payload|permission|"
    "permissions|problem|product|property|quota|rate|request|required|requests|resource|schema|scope|server|service|"
    "signature|size|state|status|token|type|ui|unauthorized|unprocessable|unsupported|url|validated|validation|"
    "value"
)
_ENGLISH: Final = (
    "a|allowed|already|an|and|are|be|because|been|bad|by|can|cannot|could|denied|disabled|does|empty|enabled|"
    "exceeded|exist|exists|failed|for|found|gone|has|in|internal|is|it|large|long|many|must|no|not|of|on|one|only|"
    "or|please|processing|provide|provided|started|supported|the|this|to|too|twice|unknown|valid|was|while|with|"
    "within|wrong"
)
KNOWN: Final = frozenset(f"{_NAMES}|{_PROTOCOL}|{_ENGLISH}".split("|"))
"""Every word that the agent keeps. Case does not matter."""

_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")  # `documentId` has two
_CODE = re.compile(r"[A-Za-z]+(?:[:._-][A-Za-z]+)*")
_PART = re.compile(r"[^\s.,;:!?'\"()]+")
_LONGEST = 200  # characters of a field that the agent reads
_OMITTED = "..."


def error_words(document: object) -> str:
    """Type, title and code of an error body, separated by `; `. Empty if it has no known word.

    A type or a code counts only if the agent knows all its words. In a title, `...` replaces unknown words.
    """
    if not isinstance(document, dict):
        return ""
    found = (_code(document.get("type")), _title(document.get("title")), _code(document.get("code")))
    return "; ".join(filter(None, found))


def _code(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST or not _CODE.fullmatch(value):
        return ""
    return value if _is_known(value) else ""


def _title(value: object) -> str:
    if not isinstance(value, str):
        return ""
    kept: list[str] = []
    for part in _PART.findall(value[:_LONGEST]):
        word = part if part.isascii() and part.isalpha() and _is_known(part) else _OMITTED
        if word != _OMITTED or kept[-1:] != [_OMITTED]:
            kept.append(word)
    return " ".join(kept) if kept and kept != [_OMITTED] else ""


def _is_known(word: str) -> bool:
    return all(piece.casefold() in KNOWN for piece in _PIECE.findall(word))
