"""The shape of a capture configuration, as the vendor declares it (contract §10). Pure.

Names are the vendor's. Every field may be absent or null. Undeclared fields are collected. The account decides whether
to refuse them (`strict`).
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from agent.sandbox.model import Json, bad_request

DocumentKind = Literal[
    "driversLicense",
    "passport",
    "identityCard",
    "residencePermit",
    "workPermit",
    "voterId",
    "postalIdCard",
    "professionalQualificationCard",
    "professionalPermit",
    "socialSecurity",
    "panCard",
    "passportCard",
    "stateId",
    "visa",
    "asylumRegistrationCard",
    "nationalHealthInsuranceCard",
    "aadharCard",
    "immigrationStatusDocument",
    "indigenousCard",
    "municipalityIdentityCard",
    "privateOperatorsCard",
    "certificateOfSponsorship",
    "serviceIdCard",
    "taxId",
]


def _unique(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise ValueError("a value occurs twice")
    return values


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", alias_generator=to_camel, hide_input_in_errors=True)


class _PrerequisiteItem(_Shape):
    icon: str | None = None
    title: str | None = None
    description: str | None = None


class _InstructionItem(_PrerequisiteItem):
    image: str | None = None


class _VideoId(_Shape):
    check_requirements: bool | None = None
    use_modal: bool | None = None
    min_requirements_mandatory: bool | None = None
    allowed_id_types: list[int] | None = None
    sdk_load_timeout: int | None = None


class _Translations(_Shape):
    """Texts by key, by language. The schema nests languages one level deeper than the vendor's example, so both are
    valid."""

    __pydantic_extra__: dict[str, dict[str, str]] = Field(init=False)
    translations: dict[str, dict[str, str]] | None = None


class PictureId(_Shape):
    """The settings that have an effect on a PictureID flow."""

    default_country: str | None = None
    allow_file_upload: list[str] | None = None
    allow_take_photo: list[str] | None = None
    allowed_id_types: list[int] | None = None
    translations: _Translations | None = None


class Profile(_Shape):
    """One capture configuration."""

    page_title: str | None = None
    favicon: str | None = None
    font_name: str | None = None
    font_url: str | None = None
    primary_color: str | None = None
    font_color: str | None = None
    buttons_color: str | None = None
    buttons_hover_color: str | None = None
    buttons_text_color: str | None = None
    spinner_color: str | None = None
    document_types: list[DocumentKind] | None = None
    document_countries: dict[str, Any] | None = None
    two_sided_passports: Any = None
    languages: Annotated[list[str], AfterValidator(_unique)] | None = None
    translations: dict[str, dict[str, str]] | None = None
    default_country: str | None = None
    allow_file_upload: list[str] | None = None
    allow_take_photo: list[str] | None = None
    allow_zoom_on_preview: list[str] | None = None
    use_signicat_theming: bool | None = None
    enable_mobile_handover: bool | None = None
    enable_orientation_confirmation: bool | None = None
    auto_capture: bool | None = None
    detect_glare: Any = None
    custom_redaction_error: bool | None = None
    take_selfie: bool | None = None
    sms_default_country: str | None = None
    max_retries: int | None = None
    show_modal_before_redirect: bool | None = None
    mobile_handover_timeout: int | None = None
    mobile_handover_modes: list[str] | None = None
    force_mobile_handover: bool | None = None
    use_native_camera: bool | None = None
    custom_css: str | None = None
    onfido_config: Any = None
    signicatvideoid_config: _VideoId | None = None
    signicatpictureid_config: PictureId | None = None
    show_consent_page: bool | None = None
    show_accessibility_link: bool | None = None
    show_document_instructions_screen: bool | None = None
    document_instructions_screen_items: list[_InstructionItem] | None = None
    show_prerequisites_screen: bool | None = None
    prerequisites_screen_items: list[_PrerequisiteItem] | None = None
    show_country_before_document_type: bool | None = None

    @classmethod
    def parse(cls, body: Json) -> "Profile":
        """Parse JSON. Raise AssureError 400 that names the invalid field."""
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
            raise bad_request(f"{where} is not of the right type.") from None

    def body(self) -> Json:
        """The configuration as JSON, without nulls and absent fields."""
        return self.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)

    def unknown(self) -> dict[str, object]:
        """The undeclared fields, by name, at any depth."""
        return dict(_unknown([self]))


def _unknown(values: Iterable[object]) -> Iterator[tuple[str, object]]:
    for value in values:
        if isinstance(value, _Shape):
            if not isinstance(value, _Translations):
                yield from (value.model_extra or {}).items()
            yield from _unknown(entry for _, entry in value)
        elif isinstance(value, list):
            yield from _unknown(value)
