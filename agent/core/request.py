"""The request file: the model of one YAML document (design §3). It validates text and reports every error at once.

Values are strict: the text `"137"` is not a number and `"true"` is not a boolean. Errors of type `refused` carry
`message` and `hint` in their context. No repr shows a path, a label or an annotation [I6]. `field_types.py` has the
types of single fields.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
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

Contradiction = tuple[tuple[str, ...], str, str]  # where, below the part; message; hint


class Part(BaseModel):
    """A part of the file. Frozen, strict, refuses fields it does not know, and reports all that is wrong at once."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, hide_input_in_errors=True
    )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    __str__ = __repr__

    @classmethod
    def contradictions(cls, raw: Mapping[str, Any]) -> Iterator[Contradiction]:
        """Rules between fields, over what was written, so that they are told together with broken fields."""
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _report_all_errors(cls, raw: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        found = cls.contradictions(raw) if isinstance(raw, Mapping) else ()
        lines = [InitErrorDetails(type=field_error(message, hint), loc=loc, input=None) for loc, message, hint in found]
        try:
            part = handler(raw)
        except ValidationError as error:
            if not lines:
                raise
            for one in error.errors(include_url=False, include_input=False):
                again = PydanticCustomError(one["type"], "as reported", one.get("ctx"))
                lines.append(InitErrorDetails(type=again, loc=one["loc"], input=None))
        if lines:
            raise ValidationError.from_exception_data(cls.__name__, lines, hide_input=True)
        return part


class Metadata(Part):
    """What identifies a request and what people want to find it by."""

    name: Name = Field(description="The request's name, unique in the source: a lower-case DNS-1123 subdomain.")
    labels: Mapping[Key, LabelValue] = Field(
        default_factory=dict,
        max_length=16,
        description="For searching here; never sent to Assure; not for personal data.",
    )
    annotations: Mapping[AnnotationKey, str] = Field(
        default_factory=dict,
        description="Free text. The agent reads only assure-agent/rerun and assure-agent/resolve.",
    )

    @field_validator("labels", "annotations", mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        """`labels:` with nothing after it is an empty map, as in Kubernetes."""
        return {} if value is None else value

    @classmethod
    def contradictions(cls, raw: Mapping[str, Any]) -> Iterator[Contradiction]:
        """Our own annotations are short and printable; other ones are nobody's business."""
        annotations = raw.get("annotations")
        if not isinstance(annotations, Mapping):
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
"""The document types that Assure names (contract §5)."""


class DocumentTypeRef(Part):
    """A document by its country and kind, to be looked up among Assure's document types."""

    country: Country = Field(description="The country that issued it, ISO 3166-1 alpha-3 in capitals.")
    type: DocumentKind = Field(description="The kind of document, in Assure's words.")


class Images(Part):
    """The pictures: paths below the images folder; jpg or png by content."""

    front: ImagePath = Field(description="The page with the photo; required.")
    back: ImagePath | None = Field(None, description="The other side, when the document has two pages.")
    selfie: ImagePath | None = Field(None, description="The holder's face: required with documentSelfie, else refused.")

    @property
    def paths(self) -> Mapping[Depiction, str]:
        """The paths that are given, by depiction: front, back, selfie."""
        every = {Depiction.FRONT: self.front, Depiction.BACK: self.back, Depiction.SELFIE: self.selfie}
        return {depiction: path for depiction, path in every.items() if path is not None}


class Upload(Part):
    """Direct upload of pictures that exist already (use case 2)."""

    document_id: int | None = Field(None, gt=0, le=2**31 - 1, description="Assure's number of the document type.")
    document_type: DocumentTypeRef | None = Field(
        None, description="Instead of documentId: looked up among Assure's document types at admission."
    )
    images: Images = Field(description="Which pictures to upload.")
    read_back: bool = Field(
        False, description="Compare each uploaded picture with what Assure returns before the start."
    )

    @classmethod
    def contradictions(cls, raw: Mapping[str, Any]) -> Iterator[Contradiction]:
        """Exactly one of documentId and documentType."""
        given = [field for field in ("documentId", "documentType") if raw.get(field) is not None]
        if not given:
            advice = "add documentId: 137, or documentType: {country: NLD, type: passport}"
            yield ("documentId",), "expected one of documentId and documentType; neither is there", advice
        if len(given) == 2:
            yield ("documentType",), "expected either documentId or documentType, not both", "remove one of the two"


class Capture(Part):
    """The hosted capture flow (use case 1)."""

    redirect_url: RedirectUrl = Field(description="Where the person goes afterwards: https, or http on loopback.")
    ui_profile: Profile | None = Field(None, description="The id of a capture configuration at Assure.")
    language: Language | None = Field(None, description="The language of the pages.")
    default_country: Country | None = Field(None, description="The country that is selected at first, alpha-3.")
    request_domain: HostName | None = Field(None, description="The host name under which the pages are served.")

    @property
    def redirect_host(self) -> str:
        """The host of redirectUrl in lower case, without the port."""
        return urlsplit(self.redirect_url).hostname or ""


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise field_error("expected a duration above zero", "write it like 24h")
    return seconds


CLAIMS_TTL = 30 * 86_400.0
"""How long claims are kept, in seconds, where the file does not say."""


class Result(Part):
    """What is kept of the result."""

    keep: Literal["outcome", "claims"] = Field(
        "outcome", description="outcome: no personal data; claims: the personal data of an accepted result, encrypted."
    )
    claims_ttl: Annotated[Duration, AfterValidator(_positive)] | None = Field(
        None, description="How long claims are kept; only with keep: claims, then 30d."
    )

    @classmethod
    def contradictions(cls, raw: Mapping[str, Any]) -> Iterator[Contradiction]:
        """claimsTtl needs claims."""
        if raw.get("keep") != "claims" and raw.get("claimsTtl") is not None:
            yield ("claimsTtl",), "claimsTtl is only for keep: claims", "remove claimsTtl, or use keep: claims"

    @property
    def kept_for(self) -> float | None:
        """How long claims are kept, in seconds; None: no personal value is kept."""
        if self.keep == "outcome":
            return None
        return self.claims_ttl if self.claims_ttl is not None else CLAIMS_TTL


class Spec(Part):
    """What is to be verified, and how."""

    process_type: ProcessType = Field(strict=False, description="What to verify: document, or documentSelfie.")
    upload: Upload | None = Field(None, description="Verify pictures that exist; exactly one of upload and capture.")
    capture: Capture | None = Field(None, description="Let the person take pictures on a hosted page.")
    deadline: Annotated[Duration, AfterValidator(_positive)] = Field(
        86_400.0, description="From the first create call to a final status; then the outcome is expired."
    )
    retention: Duration = Field(0.0, description="How long the dossier stays at Assure after the outcome.")
    result: Result = Field(Result(), description="What is kept of the result.")
    suspend: bool = Field(False, description="true: start nothing new for this request until it is false again.")

    @classmethod
    def contradictions(cls, raw: Mapping[str, Any]) -> Iterator[Contradiction]:
        """Exactly one way, and a selfie exactly when it is compared."""
        upload, capture = raw.get("upload"), raw.get("capture")
        if upload is None and capture is None:
            yield ("upload",), "expected one of upload and capture; neither is there", "add upload or capture"
        if upload is not None and capture is not None:
            yield ("capture",), "expected either upload or capture, not both", "remove one of the two"
        images = upload.get("images") if isinstance(upload, Mapping) else None
        if not isinstance(images, Mapping):
            return
        selfie, place = images.get("selfie") is not None, ("upload", "images", "selfie")
        if raw.get("processType") == ProcessType.DOCUMENT_SELFIE and not selfie:
            yield place, "selfie is missing; documentSelfie needs it", "add selfie, or use processType: document"
        if raw.get("processType") == ProcessType.DOCUMENT and selfie:
            yield place, "selfie is only for documentSelfie", "remove selfie, or use processType: documentSelfie"


class VerificationRequest(Part):
    """One request: a document of the request file."""

    api_version: Literal["assure-agent/v1"] = Field(description="The version of this format: assure-agent/v1.")
    kind: Literal["VerificationRequest"] = Field(description="Always VerificationRequest.")
    metadata: Metadata = Field(description="What identifies the request.")
    spec: Spec = Field(description="What is to be verified, and how.")

    @property
    def name(self) -> str:
        """metadata.name."""
        return self.metadata.name

    @property
    def mode(self) -> Literal["upload", "capture"]:
        """Which of the two ways."""
        return "capture" if self.spec.upload is None else "upload"

    @property
    def rerun_token(self) -> str | None:
        """The token that asks for a fresh verification, or None."""
        return self.metadata.annotations.get(RERUN)

    @property
    def resolve_answer(self) -> str | None:
        """The answer to a hold as written (`retry@HOLD_ID`), not yet understood, or None."""
        return self.metadata.annotations.get(RESOLVE)


def canonical(request: VerificationRequest) -> bytes:
    """The whole document as JSON: sorted keys, defaults filled in, one spelling per duration, no nulls. For digests.

    Nulls are left out so that a later optional field does not change the digest of requests that never use it.
    """
    return orjson.dumps(_plain(request), option=orjson.OPT_SORT_KEYS)


def essence(request: VerificationRequest) -> bytes:
    """Like `canonical`, without what may change in place: labels, annotations, retention, deadline, suspend."""
    plain = _plain(request)
    for part, fields in (("metadata", ("labels", "annotations")), ("spec", ("retention", "deadline", "suspend"))):
        for field in fields:
            del plain[part][field]
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)


def _plain(request: VerificationRequest) -> dict[str, Any]:
    return request.model_dump(mode="json", by_alias=True, exclude_none=True)
