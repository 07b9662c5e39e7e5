"""Resolve a document to the desired state of its request: its images, its document type, or its faults."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from agent.core.assure_types import CaptureOptions, DocumentKey
from agent.core.document_types import Resolution, Unresolved, explain_unresolved
from agent.core.effect import ImageRef
from agent.core.record import Desired
from agent.core.reference import Reference
from agent.core.request import VerificationRequest
from agent.platform.settings import Settings
from agent.source.diagnostics import Fault
from agent.source.images import ImageFolder
from agent.source.loader import Document
from agent.source.validate import image_faults, without_key

WantedType = DocumentKey | int  # a document type by country and type, or by id
DesiredResult = Desired | WantedType | list[Fault]  # the desired state, a type to resolve first, or faults


@dataclass(frozen=True, slots=True)
class KnownTypes:
    """Assure's document types, as far as admission knows them."""

    ids: frozenset[int] | None  # None: there is no valid list, so that no id can be judged
    resolved: Mapping[WantedType, Resolution | None] = field(default_factory=dict)  # None: Assure does not answer now

    def lacks(self, wanted: WantedType) -> bool:
        """True if this type must be resolved first."""
        listed = isinstance(wanted, int) and (self.ids is None or wanted in self.ids)
        return not listed and wanted not in self.resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRules:
    """The settings of admission: the source, the agent id, the images folder, and limits."""

    source: str
    agent_id: str
    images: ImageFolder
    redirect_hosts: frozenset[str] = frozenset()  # empty: any
    claims: bool = False  # there is a CLAIMS_KEY

    @classmethod
    def of(cls, settings: Settings, agent_id: str) -> "AdmissionRules":
        """From the settings; `agent_id` applies if they have none."""
        return cls(
            source=settings.source_name,
            agent_id=settings.agent_id or agent_id,
            images=ImageFolder(settings.images_dir, settings.max_image_bytes),
            redirect_hosts=frozenset(settings.redirect_hosts),
            claims=settings.keeps_claims,
        )

    def is_own_reference(self, reference: str) -> bool:
        """True for an external reference that this agent created."""
        parsed = Reference.parse(reference)
        return parsed is not None and parsed.agent == self.agent_id


@dataclass(frozen=True, slots=True)
class Digests:
    """The salted digests of a document: complete, and without the fields that may change in place."""

    whole: str
    essence: str


def build_desired(
    document: Document, request: VerificationRequest, digests: Digests, rules: AdmissionRules, types: KnownTypes
) -> DesiredResult:
    """The desired state of a document that may start a generation: its images are read and digested."""
    if faults := list(_forbidden(document, request, rules)):
        return faults
    wanted = _document_key(request) or _document_id(request)
    if wanted is not None and types.lacks(wanted):
        return wanted
    identified = _identified(document, wanted, types.resolved.get(wanted)) if wanted is not None else None
    paths = request.spec.upload.images.paths if request.spec.upload is not None else {}
    digest_of = rules.images.inspect(paths)
    if not isinstance(digest_of, tuple) and not isinstance(identified, Fault):
        images = tuple(
            ImageRef(depiction=depiction, path=paths[depiction], sha256=digest)
            for depiction, digest in digest_of.items()
        )
        return _desired(document, request, digests, images, identified)
    faults = [identified] if isinstance(identified, Fault) else []
    if isinstance(digest_of, tuple):
        faults += image_faults(document, digest_of)
    return faults


def build_desired_in_place(
    document: Document, request: VerificationRequest, digests: Digests, rules: AdmissionRules, kept: Desired
) -> Desired | list[Fault]:
    """The desired state of a document that starts nothing: it keeps the admitted images and document id."""
    faults = list(_forbidden(document, request, rules))
    return faults or _desired(document, request, digests, kept.images, kept.document_id)


def desired_as_written(document: Document, digests: Digests) -> Desired:
    """The desired state as the file says it: image digests are empty, and a document type has no id."""
    request = document.request
    paths = request.spec.upload.images.paths if request.spec.upload is not None else {}
    images = tuple(ImageRef(depiction=depiction, path=path, sha256="") for depiction, path in paths.items())
    return _desired(document, request, digests, images, _document_id(request))


def _forbidden(document: Document, request: VerificationRequest, rules: AdmissionRules) -> Iterator[Fault]:
    capture, allowed = request.spec.capture, rules.redirect_hosts
    if capture is not None and allowed and capture.redirect_host not in allowed:
        message = "the host of spec.capture.redirectUrl is not in REDIRECT_HOSTS"
        yield fault_in(
            document,
            (document.line, 1),
            message,
            "use an allowed host, or add this host to ASSURE_AGENT_REDIRECT_HOSTS",
        )
    if not rules.claims and document.keep_at is not None:
        yield without_key(document, document.keep_at)


def fault_in(document: Document, mark: tuple[int, int], message: str, hint: str) -> Fault:
    """A fault of a document, at a line and column of its file."""
    return Fault(file=document.file, line=mark[0], column=mark[1], message=message, hint=hint, name=document.name)


def _document_key(request: VerificationRequest) -> DocumentKey | None:
    kind = request.spec.upload.document_type if request.spec.upload is not None else None
    return None if kind is None else DocumentKey(kind.country, kind.type)


def _document_id(request: VerificationRequest) -> int | None:
    return request.spec.upload.document_id if request.spec.upload is not None else None


def _identified(document: Document, wanted: WantedType, found: Resolution | None) -> int | Fault:
    """The id of the document type, or the fault if it cannot be resolved. Without a list, an id is not judged."""
    if found is None and isinstance(wanted, int):
        return wanted
    if found is not None and not isinstance(found, Unresolved):
        return found.id
    if found is None:
        message = "Assure does not provide the list of document types now"
        hint = "wait for the next scan, which requests the list again, or use documentId"
    else:
        message, hint = explain_unresolved(wanted, found)
    field_name, mark = ("documentId", document.id_at) if isinstance(wanted, int) else ("documentType", document.type_at)
    assert mark is not None
    return fault_in(document, mark, f"spec.upload.{field_name}: {message}", hint)


def _desired(
    document: Document,
    request: VerificationRequest,
    digests: Digests,
    images: tuple[ImageRef, ...],
    document_id: int | None,
) -> Desired:
    spec = request.spec
    capture = spec.capture
    return Desired(
        digest=digests.whole,
        essence=digests.essence,
        process_type=spec.process_type,
        document_id=document_id,
        document_type=_document_key(request),
        images=images,
        read_back=spec.upload.read_back if spec.upload is not None else False,
        capture=None
        if capture is None
        else CaptureOptions(
            process_type=spec.process_type,
            redirect_url=capture.redirect_url,
            ui_profile=capture.ui_profile,
            language=capture.language,
            default_country=capture.default_country,
            request_domain=capture.request_domain,
        ),
        deadline=spec.deadline,
        retention=spec.retention,
        suspend=spec.suspend,
        claims_ttl=spec.result.kept_for,
        rerun=request.rerun_token,
        labels=tuple(sorted(request.metadata.labels.items())),
        file=document.file,
        line=document.line,
    )
