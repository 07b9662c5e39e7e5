"""Capture configurations, which a capture flow names as its uiProfile (contract §10).

For PictureID only `signicatpictureidConfig` has an effect. The page applies its fields defaultCountry, allowedIdTypes,
allowFileUpload and allowTakePhoto. The other fields are checked, stored and returned (`profile`).
"""

from agent.sandbox.account import Account
from agent.sandbox.capture.profile import PictureId, Profile
from agent.sandbox.model import Configuration, Json, Operation, bad_request, conflict, not_found

LONGEST_ID = 100


class Configurations:
    """The capture configurations of one account, by id."""

    def __init__(self, account: Account) -> None:
        self.known: dict[str, Configuration] = {}
        self._account = account

    def rows(self) -> list[Json]:
        """GET configurations, oldest first (a choice). The list may be empty."""
        return [entry.slim() for entry in self.known.values()]

    def get(self, configuration_id: str) -> Json:
        """GET configuration. Return the body as it was sent, without id and times."""
        return self._found(configuration_id).body

    def create(self, configuration_id: str, body: Json) -> Json:
        """POST configuration. Raise AssureError 409 when the id exists."""
        now = self._account.clock()
        if len(configuration_id) > LONGEST_ID:
            raise bad_request(f"The id of a configuration has at most {LONGEST_ID} characters.")
        checked = self.checked(Operation.SET_CONFIGURATION, body)
        if configuration_id in self.known:
            raise conflict()
        entry = Configuration(configuration_id=configuration_id, body=checked.body(), created_at=now, updated_at=now)
        self.known[configuration_id] = entry
        self._account.changes += 1
        return entry.body | entry.slim()

    def update(self, configuration_id: str, body: Json) -> Json:
        """PUT configuration. Replace the body. An unknown id is 400, because no 404 is declared. Both are choices."""
        checked = self.checked(Operation.UPDATE_CONFIGURATION, body)
        if configuration_id not in self.known:
            raise bad_request("Configuration not found.")
        entry = self.known[configuration_id]
        entry.body, entry.updated_at = checked.body(), self._account.clock()
        self._account.changes += 1
        return entry.body | entry.slim()

    def delete(self, configuration_id: str) -> None:
        """DELETE configuration. Flows that were started with it keep its settings: a choice."""
        self._found(configuration_id)
        del self.known[configuration_id]
        self._account.changes += 1

    def checked(self, operation: Operation, body: Json) -> Profile:
        """Parse a configuration. Raise AssureError 400 when it is invalid."""
        profile = Profile.parse(body)
        self._account.screen(operation, profile.unknown(), frozenset())
        return profile

    def settings(self, name: str, override: Profile) -> PictureId:
        """The PictureID settings of a flow. Fields of uiProfileJSON override those of the named uiProfile."""
        entry = self.known.get(name)
        merged = Profile.parse((entry.body if entry else {}) | override.body())
        return merged.signicatpictureid_config or PictureId()

    def _found(self, configuration_id: str) -> Configuration:
        if configuration_id not in self.known:
            raise not_found("Configuration")
        return self.known[configuration_id]
