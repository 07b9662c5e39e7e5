"""The outcome of a verification, and Assure's answer with it (contract §9).

Assure has no magic values (contract §14.5). The sandbox reads markers from the bytes of any image:
`sandbox-outcome=accepted|rejected|inconclusive|failed` and `sandbox-delay=2s` (ms, s or m). A capture without a marked
image uses the uiProfile `sandbox-outcome-…`, which also accepts `canceled` and `abandoned`. Otherwise the weights
decide.
"""

import random
import re
from collections.abc import Iterable, Mapping

from agent.sandbox.model import DEPICTIONS, FINAL, Image, Json, Process, Verdict

FIRST_NAME = "Wilhelmina-Canary"
LAST_NAME = "Canary-Vantongeren"
DOCUMENT_NUMBER = "SPECIMEN-C4N4RY-1"
PERSONAL_NUMBER = "999-CANARY-02"
BIRTH_DATE = "1907-07-17"
BIRTH_PLACE = "Canaryville"
EXPIRY_DATE = "2097-07-27"

# Personal values of an invented person. A copy of them outside the simulator proves a leak.
CANARIES = (FIRST_NAME, LAST_NAME, DOCUMENT_NUMBER, PERSONAL_NUMBER, BIRTH_DATE, BIRTH_PLACE, EXPIRY_DATE)

UPLOAD_FAILED = {"type": "upload_failed", "message": "ERROR: signicatpictureid uploadImage()"}
BY_REQUEST = {"type": "Process.Failed", "message": "Failed by request."}

_OUTCOME = re.compile(rb"sandbox-outcome=(accepted|rejected|inconclusive|failed)")
_DELAY = re.compile(rb"sandbox-delay=(\d+(?:\.\d+)?)(ms|s|m)")
_PROFILE = re.compile(r"sandbox-outcome-(accepted|rejected|inconclusive|failed|canceled|abandoned)")
_SECONDS = {b"ms": 0.001, b"s": 1.0, b"m": 60.0}
_NAMES = {
    "notTamperedDocument": "Not tampered document",
    "nonExpired": "Document not expired",
    "notUnderage": "Not underage",
    "notBlackAndWhite": "Not black & white copy",
    "dataIntegrity": "Data integrity",
}


def marked_outcome(images: Iterable[Image]) -> str | None:
    """The outcome in the first image with a marker."""
    found = (_OUTCOME.search(image.content or b"") for image in images)
    return next((match[1].decode() for match in found if match), None)


def marked_delay(images: Iterable[Image]) -> float | None:
    """The seconds of verification in the first image with a marker."""
    found = (_DELAY.search(image.content or b"") for image in images)
    return next((float(match[1]) * _SECONDS[match[2]] for match in found if match), None)


def profile_outcome(profile: str) -> str | None:
    """The outcome that a uiProfile names. It may be `canceled` or `abandoned`."""
    match = _PROFILE.fullmatch(profile)
    return match[1] if match else None


def drawn_outcome(weights: Mapping[str, float], chance: random.Random) -> str:
    """Draw an outcome by weight."""
    return chance.choices(list(weights), list(weights.values()))[0]


def verdict(status: str, at: float) -> Verdict:
    """The verdict, with the documented reason if there is one."""
    return Verdict(status, at, UPLOAD_FAILED if status == "failed" else None)


def process_body(process: Process, now: float) -> Json:
    """GET process: header fields, and the fields of its status (contract §9)."""
    body = process.slim(now)
    status = body["status"]
    if status not in FINAL:
        return body
    body["depictions"] = [name for name in DEPICTIONS if name in process.images]
    selfie = process.process_type == "documentSelfie"
    match status:
        case "accepted":
            score = {"similarityScore": "high"} if selfie else {}
            body |= {"finalResult": _claims(process.country) | score, **_provider(process, selfie=selfie)}
        case "inconclusive":
            body["statusReasons"] = [_reason("SecurityCheckFailed", "nonExpired", "failed")]
            body |= _provider(process, selfie=selfie, failed=("nonExpired",))
        case "rejected":
            body["statusReasons"] = [_reason("Security", "notUnderage", "failed or was not found")]
            body |= _unreadable()
        case "failed" if process.verdict and process.verdict.fail_reason:
            body["failReason"] = process.verdict.fail_reason
    return body


def _claims(country: str) -> Json:
    """Exactly the nine fields of Assure's PictureID examples (contract §9)."""
    return {
        "firstName": FIRST_NAME,
        "lastName": LAST_NAME,
        "dateOfExpiry": EXPIRY_DATE,
        "dateOfBirth": BIRTH_DATE,
        "gender": "F",
        "nationality": country,
        "documentNumber": DOCUMENT_NUMBER,
        "issuingCountry": country,
        "personalIdentificationNumber": PERSONAL_NUMBER,
    }


def _reason(category: str, check: str, how: str) -> Json:
    """A status reason. Its free text contains the invented name, so that a copy of that text proves a leak."""
    return {
        "type": "Document",
        "category": category,
        "subCategory": check[0].upper() + check[1:],
        "message": f"Security check '{check}' {how}. Holder: {FIRST_NAME} {LAST_NAME}",
    }


def _checks(names: Iterable[str], failed: Iterable[str]) -> Json:
    return {name: {"name": _NAMES[name], "passed": name not in failed} for name in names}


def _box(x: int, y: int, width: int, height: int) -> Json:
    return {"x": x, "y": y, "width": width, "height": height}


def _provider(process: Process, *, selfie: bool, failed: tuple[str, ...] = ()) -> Json:
    """providerSpecific of a readable document."""
    checks = _checks(_NAMES, failed)
    if selfie:
        checks["selfieAndDocumentMatch"] = {
            "name": "Selfie and photo in the document match",
            "similarityLevel": "high",
        }
    document = {
        "issuingCountry": process.country,
        "dateOfExpiry": EXPIRY_DATE,
        "documentNumber": DOCUMENT_NUMBER,
        "subject": {
            "firstName": FIRST_NAME,
            "lastName": LAST_NAME,
            "dateOfBirth": BIRTH_DATE,
            "placeOfBirth": BIRTH_PLACE,
            "gender": "F",
            "nationality": process.country,
            "personalIdentificationNumber": PERSONAL_NUMBER,
            "photo": _box(90, 171, 167, 235),
            "signature": _box(336, 425, 298, 108),
        },
        "securityChecks": checks,
    }
    face = {"selfie": {"status": "SUCCESS"} | _box(349, 333, 417, 702)} if selfie else {}
    return {"providerSpecific": {"document": document} | face}


def _unreadable() -> Json:
    """providerSpecific of the documented rejection. It has almost no subject, and only the checks that were made."""
    made = ("notTamperedDocument", "notBlackAndWhite", "dataIntegrity")
    document = {
        "subject": {"signature": _box(260, 447, 278, 107)},
        "securityChecks": _checks(made, ("dataIntegrity",)),
    }
    return {"providerSpecific": {"document": document}}
