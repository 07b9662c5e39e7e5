"""User data and files of dossiers (contract §4), which a client sends in addition to processes.

Both are personal data. Deletion of the dossier deletes them. The ledger's `holds` names the parts that exist.
"""

from agent.sandbox import validation
from agent.sandbox.account import Account
from agent.sandbox.model import Dossier, Image, Json, Operation, UserData, bad_request, conflict, not_found, stamp

LONGEST_NAME = 64
ADDRESS_FIELDS = frozenset({"formatted", "streetAddress", "houseNumber", "locality", "region", "postalCode", "country"})
USER_DATA_FIELDS = frozenset(
    {"firstName", "lastName", "gender", "nationality", "dateOfBirth", "personalIdentificationNumber"}
    | {"placeOfBirth", "mobile", "email", "address"}
)


class DossierData:
    """The user data and the files of an account's dossiers."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def get_user_data(self, dossier_id: str) -> Json:
        """GET userdata. Raise AssureError 404 when there is none."""
        self._account.now()
        found = self._user_data(self._account.dossier(dossier_id))
        return {
            "dossierId": dossier_id,
            "userData": found.values,
            "createdAt": stamp(found.created_at),
            "updatedAt": stamp(found.updated_at),
        }

    def set_user_data(self, dossier_id: str, body: Json) -> None:
        """POST userdata. Raise AssureError 409 when there is some."""
        now = self._account.now()
        dossier = self._account.dossier(dossier_id)
        given = self._checked(Operation.SET_USER_DATA, dossier, body)
        if dossier.user_data is not None:
            raise conflict()
        dossier.user_data = UserData(values=_merged({}, given), created_at=now, updated_at=now)
        self._changed(dossier, now)

    def update_user_data(self, dossier_id: str, body: Json) -> None:
        """PUT userdata. Fields that are sent replace the stored ones, and an empty string deletes a field."""
        now = self._account.now()
        dossier = self._account.dossier(dossier_id)
        given = self._checked(Operation.UPDATE_USER_DATA, dossier, body)
        found = self._user_data(dossier)
        found.values, found.updated_at = _merged(found.values, given), now
        self._changed(dossier, now)

    def delete_user_data(self, dossier_id: str) -> None:
        """DELETE userdata. Raise AssureError 404 when there is none."""
        now = self._account.now()
        dossier = self._account.dossier(dossier_id)
        self._user_data(dossier)
        dossier.user_data = None
        self._changed(dossier, now)

    def set_files(self, dossier_id: str, body: Json) -> None:
        """POST files. Store pictures from data URLs, or copies of a process's images. Each replaces the file of its
        name."""
        now, account = self._account.now(), self._account
        dossier = account.dossier(dossier_id)
        account.screen(Operation.SET_FILES, body, validation.FILE_FIELDS, dossier)
        source = validation.typed(body, "processId", str)
        files = self._copies(dossier, source) if source is not None else {}
        files |= validation.images(body, account.config)
        if not files:
            raise bad_request("One of front, back, selfie and processId is required.")
        dossier.files |= files
        self._changed(dossier, now)

    def get_file(self, dossier_id: str, depiction: str | None) -> bytes:
        """GET files. Return the bytes as they were sent."""
        self._account.now()
        dossier = self._account.dossier(dossier_id)
        if depiction not in validation.IMAGE_FIELDS:
            raise bad_request("depiction is one of front, back and selfie.")
        image = dossier.files.get(depiction)
        if image is None or image.content is None:
            raise not_found("Image")
        return image.content

    def delete_files(self, dossier_id: str) -> None:
        """DELETE files. Raise AssureError 404 when there are none."""
        now = self._account.now()
        dossier = self._account.dossier(dossier_id)
        if not dossier.files:
            raise not_found("Image")
        dossier.files.clear()
        self._changed(dossier, now)

    def _copies(self, dossier: Dossier, process_id: str) -> dict[str, Image]:
        _, process = self._account.dossier_and_process(dossier.dossier_id, process_id)
        # After a restart only the digests remain of a process that had started.
        copies = {name: image for name, image in process.images.items() if image.content is not None}
        if not copies:
            raise not_found("Image")
        return copies

    def _user_data(self, dossier: Dossier) -> UserData:
        if dossier.user_data is None:
            raise not_found("User data")
        return dossier.user_data

    def _checked(self, operation: Operation, dossier: Dossier, body: Json) -> Json:
        """The fields that were sent, without nulls. Formats of dates, countries and addresses are not checked."""
        screen = self._account.screen
        screen(operation, body, frozenset({"userData"}), dossier)
        given = validation.typed(body, "userData", dict) or {}
        screen(operation, given, USER_DATA_FIELDS, dossier)
        address = validation.typed(given, "address", dict)
        screen(operation, address or {}, ADDRESS_FIELDS, dossier)
        values = _texts(given, USER_DATA_FIELDS - {"address"})
        for name in ("firstName", "lastName"):
            if len(values.get(name, "")) > LONGEST_NAME:
                raise bad_request(f"{name} has more than {LONGEST_NAME} characters.")
        if values.get("gender", "") not in ("", "M", "F"):
            raise bad_request("gender is M or F.")
        return values if address is None else values | {"address": _texts(address, ADDRESS_FIELDS)}

    def _changed(self, dossier: Dossier, now: float) -> None:
        dossier.updated_at = now
        self._account.changes += 1


def _texts(body: Json, names: frozenset[str]) -> Json:
    """The string fields of these names, without nulls."""
    given = {name: validation.typed(body, name, str) for name in sorted(names)}
    return {name: value for name, value in given.items() if value is not None}


def _merged(before: Json, given: Json) -> Json:
    """Merge `given` into `before`, one address field at a time, without empty values."""
    merged = before | given
    if "address" in given:
        merged["address"] = _merged(before.get("address", {}), given["address"])
    return {name: value for name, value in merged.items() if value not in ("", {})}
