"""The model of one YAML document of a request file (design §3). It validates text and reports all errors together.

Values are strict: the text `"137"` is not a number and `"true"` is not a boolean. Errors of type `refused` carry
`message` and `hint` in their context. No repr shows a path, a label or an annotation [I6]. `field_types.py` has the
types of single fields.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import InitErrorDetails, PydanticCustomError

from agent.core.assure_types import Depiction, ProcessType
from agent.core.duration import Duration
from agent.core.field_types import (
    OUR_ANNOTATIONS,
    RERUN,
    RESOLVE,
    AnnotationKey,
    Country,
    HostName,
    ImagePath,
    Key,
    LabelValue,
    Language,
    Name,
    Profile,
    RedirectUrl,
    field_error,
)

Contradiction = tuple[tuple[str, ...], str, str]  # location below the part, message, hint


class Part(BaseModel):
    """A part of the document. It is frozen and strict, and refuses unknown fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, hide_input_in_errors=True
    )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    __str__ = __repr__

    @classmethod
    def contradictions(cls, raw: dict[str, Any]) -> Iterator[Contradiction]:
        """Check rules between fields on the raw mapping, so that their errors appear together with invalid fields.

        `read_request` calls it for the parts of a document.
        """
        yield from ()


class Metadata(Part):
    """The name, labels and annotations of a request."""

    name: Name = Field(description="The request's name, unique in the source: a lower-case DNS-1123 subdomain.")
    labels: Mapping[Key, LabelValue] = Field(
        default_factory=dict,
        max_length=16,
        description="For searches. The agent never sends labels to Assure. Not for personal data.",
    )
    annotations: Mapping[AnnotationKey, str] = Field(
        default_factory=dict,
        description="Free text. The agent reads only assure-agent/rerun and assure-agent/resolve.",
    )

    @field_validator("labels", "annotations", mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        """An empty `labels:` is an empty map, as in Kubernetes."""
        return {} if value is None else value

    @classmethod
    def contradictions(cls, raw: dict[str, Any]) -> Iterator[Contradiction]:
        """The agent's own annotations are short and printable. Other annotations are not checked."""
        annotations = raw.get("annotations")
        if not isinstance(annotations, dict):
            return
        for key in OUR_ANNOTATIONS:
            value = annotations.get(key)
            if isinstance(value, str) and not (0 < len(value) <= 200 and value.isprintable()):
                yield ("annotations", key), "expected 1 to 200 printable characters", "change or remove the annotation"


DocumentKind = Literal[
    "driversLicense", "passport", "identityCard", "residencePermit", "workPermit", "voterId", "postalIdCard",
    "professionalQualificationCard", "socialSecurity", "panCard", "passportCard", "stateId", "visa",
    "asylumRegistrationCard", "nationalHealthInsuranceCard", "aadharCard",
]  # fmt: skip
"""The types of document that Assure names (contract §5)."""


class DocumentTypeRef(Part):
    """A document type by its country and type. Admission resolves it with Assure's list of document types."""

    country: Country = Field(description="The country that issued it, ISO 3166-1 alpha-3 in capitals.")
    type: DocumentKind = Field(description="The type of the document, as Assure names it.")


class Images(Part):
    """The images: paths below the images folder. Their content is JPEG or PNG."""

    front: ImagePath = Field(description="The page with the photo. Required.")
    back: ImagePath | None = Field(None, description="The other side, when the document has two pages.")
    selfie: ImagePath | None = Field(
        None, description="The holder's face. Required with documentSelfie, otherwise not allowed."
    )

    @property
    def paths(self) -> Mapping[Depiction, str]:
        """The given paths by depiction: front, back, selfie."""
        every = {Depiction.FRONT: self.front, Depiction.BACK: self.back, Depiction.SELFIE: self.selfie}
        return {depiction: path for depiction, path in every.items() if path is not None}


class Upload(Part):
    """Direct upload of existing images (use case 2)."""

    document_id: int | None = Field(None, gt=0, le=2**31 - 1, description="Assure's number of the document type.")
    document_type: DocumentTypeRef | None = Field(
        None, description="Instead of documentId: admission finds the id in Assure's list of document types."
    )
    images: Images = Field(description="The images to upload.")
    read_back: bool = Field(
        False, description="Before the start, compare each uploaded image with the image that Assure returns."
    )

    @classmethod
    def contradictions(cls, raw: dict[str, Any]) -> Iterator[Contradiction]:
        """Exactly one of documentId and documentType."""
        given = [field for field in ("documentId", "documentType") if raw.get(field) is not None]
        if not given:
            advice = "add `documentId: 137`, or `documentType: {country: NLD, type: passport}`"
            yield ("documentId",), "expected one of documentId and documentType; neither is there", advice
        if len(given) == 2:
            yield ("documentType",), "expected either documentId or documentType, not both", "remove one of the two"


class Capture(Part):
    """The hosted capture flow (use case 1)."""

    redirect_url: RedirectUrl = Field(
        description="The URL that the end user reaches afterwards: https, or http on loopback."
    )
    ui_profile: Profile | None = Field(None, description="The id of a capture configuration at Assure.")
    language: Language | None = Field(None, description="The language of the pages.")
    default_country: Country | None = Field(None, description="The preselected country, alpha-3.")
    request_domain: HostName | None = Field(None, description="The host name of the capture pages.")

    @property
    def redirect_host(self) -> str:
        """The host of redirectUrl in lower case, without the port."""
        return urlsplit(self.redirect_url).hostname or ""


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise field_error("expected a duration above zero", "write it like 24h")
    return seconds


CLAIMS_TTL = 30 * 86_400.0
"""The default of claimsTtl in seconds."""


class Result(Part):
    """The part of the result that the agent keeps."""

    keep: Literal["outcome", "claims"] = Field(
        "outcome", description="`outcome` keeps no personal data, `claims` that of an accepted result."
    )
    claims_ttl: Annotated[Duration, AfterValidator(_positive)] | None = Field(
        None, description="How long the agent keeps claims. Only with keep: claims. Default 30d."
    )

    @classmethod
    def contradictions(cls, raw: dict[str, Any]) -> Iterator[Contradiction]:
        """Reject claimsTtl without claims."""
        if raw.get("keep") != "claims" and raw.get("claimsTtl") is not None:
            yield ("claimsTtl",), "claimsTtl is only for keep: claims", "remove claimsTtl, or use keep: claims"

    @property
    def kept_for(self) -> float | None:
        """How long claims are kept, in seconds. None keeps no claims."""
        if self.keep == "outcome":
            return None
        return self.claims_ttl if self.claims_ttl is not None else CLAIMS_TTL


class Spec(Part):
    """The verification that the request asks for."""

    process_type: ProcessType = Field(strict=False, description="The type of verification: document or documentSelfie.")
    upload: Upload | None = Field(None, description="Verify existing images. Exactly one of upload and capture.")
    capture: Capture | None = Field(None, description="Let the end user take images on a hosted page.")
    deadline: Annotated[Duration, AfterValidator(_positive)] = Field(
        86_400.0,
        description="The time from the first create call to a final status. Afterwards the outcome is expired.",
    )
    retention: Duration = Field(0.0, description="How long the dossier stays at Assure after the outcome.")
    result: Result = Field(Result(), description="The part of the result that the agent keeps.")
    suspend: bool = Field(False, description="true: start nothing new for this request until the value is false.")

    @classmethod
    def contradictions(cls, raw: dict[str, Any]) -> Iterator[Contradiction]:
        """Require exactly one of upload and capture, and a selfie exactly with documentSelfie."""
        upload, capture = raw.get("upload"), raw.get("capture")
        if upload is None and capture is None:
            yield ("upload",), "expected one of upload and capture; neither is there", "add upload or capture"
        if upload is not None and capture is not None:
            yield ("capture",), "expected either upload or capture, not both", "remove one of the two"
        images = upload.get("images") if isinstance(upload, dict) else None
        if not isinstance(images, dict):
            return
        selfie, place = images.get("selfie") is not None, ("upload", "images", "selfie")
        if raw.get("processType") == ProcessType.DOCUMENT_SELFIE and not selfie:
            yield place, "selfie is missing; documentSelfie needs it", "add selfie, or use processType: document"
        if raw.get("processType") == ProcessType.DOCUMENT and selfie:
            yield place, "selfie is only for documentSelfie", "remove selfie, or use processType: documentSelfie"


class VerificationRequest(Part):
    """One request: a document of the request file. `read_request` validates one, with the rules between fields."""

    api_version: Literal["assure-agent/v1"] = Field(description="The version of this format: assure-agent/v1.")
    kind: Literal["VerificationRequest"] = Field(description="Always VerificationRequest.")
    metadata: Metadata = Field(description="The name, labels and annotations of the request.")
    spec: Spec = Field(description="The verification that the request asks for.")

    @property
    def name(self) -> str:
        """metadata.name."""
        return self.metadata.name

    @property
    def mode(self) -> Literal["upload", "capture"]:
        """The use case."""
        return "capture" if self.spec.upload is None else "upload"

    @property
    def rerun_token(self) -> str | None:
        """The token that requests a new verification, or None."""
        return self.metadata.annotations.get(RERUN)

    @property
    def resolve_answer(self) -> str | None:
        """The `assure-agent/resolve` annotation as written (`retry@HOLD_ID`), or None."""
        return self.metadata.annotations.get(RESOLVE)


_CONTRADICTORY: tuple[tuple[tuple[str, ...], type[Part]], ...] = (
    (("metadata",), Metadata),
    (("spec",), Spec),
    (("spec", "upload"), Upload),
    (("spec", "result"), Result),
)
"""The parts with rules between fields, by their path."""


def read_request(raw: dict[str, Any]) -> VerificationRequest:
    """Validate a parsed document. Raises ValidationError with all contradictions and invalid fields together."""
    lines = [
        InitErrorDetails(type=field_error(message, hint), loc=(*path, *loc), input=None)
        for path, part in _CONTRADICTORY
        if isinstance(found := _at(raw, path), dict)
        for loc, message, hint in part.contradictions(found)
    ]
    try:
        request = VerificationRequest.model_validate(raw)
    except ValidationError as error:
        if not lines:
            raise
        for one in error.errors(include_url=False, include_input=False):
            again = PydanticCustomError(one["type"], "as reported", one.get("ctx"))
            lines.append(InitErrorDetails(type=again, loc=one["loc"], input=None))
    if lines:
        raise ValidationError.from_exception_data(VerificationRequest.__name__, lines, hide_input=True)
    return request


def _at(raw: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        raw = raw.get(name) if isinstance(raw, dict) else None
    return raw


def canonical(request: VerificationRequest) -> bytes:
    """The whole document as JSON for digests: sorted keys, defaults included, durations normalised, no nulls.

    Without nulls, a later optional field does not change the digest of requests that never use it.
    """
    plain = request.model_dump(mode="json", by_alias=True, exclude_none=True)
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)


def essence(document: bytes) -> bytes:
    """The `canonical` document without fields that may change in place.

    These are labels, annotations, retention, deadline and suspend.
    """
    plain = orjson.loads(document)
    for part, fields in (("metadata", ("labels", "annotations")), ("spec", ("retention", "deadline", "suspend"))):
        for field in fields:
            del plain[part][field]
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
