"""Capture configurations, which a capture flow names as its uiProfile (contract §10).

For PictureID only `signicatpictureidConfig` has an effect. Of it the page heeds defaultCountry, allowedIdTypes,
allowFileUpload and allowTakePhoto; the other fields are checked by their JSON type, kept and given back.
"""

from typing import TYPE_CHECKING

from agent.sandbox import checks
from agent.sandbox.model import Configuration, Json, Operation, bad_request, conflict, not_found

if TYPE_CHECKING:
    from agent.sandbox.account import Account

LONGEST_ID = 100
PICTURE_ID = "signicatpictureidConfig"
_TEXTS = frozenset(
    {"pageTitle", "favicon", "fontName", "fontUrl", "primaryColor", "fontColor", "buttonsColor", "buttonsHoverColor"}
    | {"buttonsTextColor", "spinnerColor", "defaultCountry", "smsDefaultCountry", "customCss"}
)
_FLAGS = frozenset(
    {"useSignicatTheming", "enableMobileHandover", "enableOrientationConfirmation", "autoCapture", "takeSelfie"}
    | {"customRedactionError", "showModalBeforeRedirect", "forceMobileHandover", "useNativeCamera", "showConsentPage"}
    | {"showAccessibilityLink", "showDocumentInstructionsScreen", "showPrerequisitesScreen"}
    | {"showCountryBeforeDocumentType"}
)
_NUMBERS = frozenset({"maxRetries", "mobileHandoverTimeout"})
_TEXT_LISTS = frozenset(
    {"documentTypes", "languages", "allowFileUpload", "allowTakePhoto", "allowZoomOnPreview", "mobileHandoverModes"}
)
_OBJECT_LISTS = frozenset({"documentInstructionsScreenItems", "prerequisitesScreenItems"})
_OBJECTS = frozenset({"documentCountries", "translations", "signicatvideoidConfig", PICTURE_ID})
_ANYTHING = frozenset({"twoSidedPassports", "detectGlare", "onfidoConfig"})
FIELDS = _TEXTS | _FLAGS | _NUMBERS | _TEXT_LISTS | _OBJECT_LISTS | _OBJECTS | _ANYTHING
PICTURE_ID_FIELDS = frozenset({"defaultCountry", "allowFileUpload", "allowTakePhoto", "allowedIdTypes", "translations"})


class Configurations:
    """The capture configurations of one account, by id."""

    def __init__(self, account: "Account") -> None:
        self.known: dict[str, Configuration] = {}
        self._account = account

    def rows(self) -> list[Json]:
        """GET configurations, oldest first: a choice. None are an empty list."""
        return [entry.slim() for entry in self.known.values()]

    def get(self, configuration_id: str) -> Json:
        """GET configuration: the body as it was sent, without id and times."""
        return self._found(configuration_id).body

    def create(self, configuration_id: str, body: Json) -> Json:
        """POST configuration: 409 when the id is taken."""
        now = self._account.clock()
        if len(configuration_id) > LONGEST_ID:
            raise bad_request(f"The id of a configuration has at most {LONGEST_ID} characters.")
        checked = self.checked(Operation.SET_CONFIGURATION, body)
        if configuration_id in self.known:
            raise conflict()
        entry = Configuration(configuration_id=configuration_id, body=checked, created_at=now, updated_at=now)
        self.known[configuration_id] = entry
        self._account.changes += 1
        return entry.body | entry.slim()

    def update(self, configuration_id: str, body: Json) -> Json:
        """PUT configuration: the body takes the place of the one of before. An unknown id is 400, as no 404 is
        declared; both are choices."""
        checked = self.checked(Operation.UPDATE_CONFIGURATION, body)
        if configuration_id not in self.known:
            raise bad_request("Configuration not found.")
        entry = self.known[configuration_id]
        entry.body, entry.updated_at = checked, self._account.clock()
        self._account.changes += 1
        return entry.body | entry.slim()

    def delete(self, configuration_id: str) -> None:
        """DELETE configuration. Flows that were started with it keep what it said: a choice."""
        self._found(configuration_id)
        del self.known[configuration_id]
        self._account.changes += 1

    def checked(self, operation: Operation, body: Json) -> Json:
        """A configuration's body without nulls, or AssureError with 400."""
        screen = self._account.screen
        screen(operation, body, FIELDS)
        for names, kind in ((_TEXTS, str), (_FLAGS, bool), (_NUMBERS, int), (_OBJECTS, dict)):
            for name in names:
                checks.typed(body, name, kind)
        for names, kind in ((_TEXT_LISTS, str), (_OBJECT_LISTS, dict)):
            for name in names:
                checks.listed(body, name, kind)
        picture_id = body.get(PICTURE_ID) or {}
        screen(operation, picture_id, PICTURE_ID_FIELDS)
        checks.typed(picture_id, "defaultCountry", str)
        checks.typed(picture_id, "translations", dict)
        checks.listed(picture_id, "allowedIdTypes", int)
        for name in ("allowFileUpload", "allowTakePhoto"):
            checks.listed(picture_id, name, str)
        return {name: value for name, value in body.items() if value is not None}

    def settings(self, profile: str, override: Json) -> Json:
        """The PictureID settings of a flow: those of the profile, where there is one, under those of uiProfileJSON."""
        entry = self.known.get(profile)
        body = (entry.body if entry else {}) | override
        settings: Json = body.get(PICTURE_ID) or {}
        return {name: value for name, value in settings.items() if value is not None}

    def _found(self, configuration_id: str) -> Configuration:
        if configuration_id not in self.known:
            raise not_found("Configuration")
        return self.known[configuration_id]
