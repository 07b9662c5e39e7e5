"""The document type of a country and type, and the message when there is none."""

import pytest
from story import DUTCH_PASSPORT, at_process, upload

from agent.core.answer import CallResult
from agent.core.assure_types import DocumentKey, DocumentType
from agent.core.document_types import Unresolved, check_admitted_id, explain_unresolved, resolve, selected
from agent.core.effect import CreateProcess
from agent.core.observations import DocumentTypeGone
from agent.core.record import HoldReason, Phase


def row(number: int, country: str = "NLD", kind: str = "passport", name: str = "", **more: str) -> DocumentType:
    return DocumentType(id=number, country=country, type=kind, name=name, **more)


LIST = (
    row(137, name="Dutch passport", country_name="Netherlands"),
    row(58, kind="identityCard", name="Dutch card", country_name="Netherlands", icao="TD1"),
    row(61, kind="residencePermit"),
    row(188, "DEU"),
    row(191, "DEU", "identityCard"),
)


def test_the_only_matching_row_is_the_document_type() -> None:
    assert resolve(LIST, DUTCH_PASSPORT) == LIST[0]


def test_two_rows_with_one_id_are_one_document_type() -> None:
    assert resolve((*LIST, row(137, name="again")), DUTCH_PASSPORT) == LIST[0]


def test_two_ids_are_ambiguous_and_both_are_listed() -> None:
    found = resolve((row(138, name="New passport"), *LIST), DUTCH_PASSPORT)
    assert found == Unresolved((LIST[0], row(138, name="New passport")), ambiguous=True)
    message, hint = explain_unresolved(DUTCH_PASSPORT, found)
    assert message == "expected one document type; Assure has several for NLD passport"
    assert hint == "use documentId with one of 137 (Dutch passport), 138 (New passport)"


def test_an_unknown_type_lists_the_nearest_types_of_its_country() -> None:
    wanted = DocumentKey("NLD", "passportCard")
    found = resolve(LIST, wanted)
    assert isinstance(found, Unresolved)
    assert (found.ambiguous, found.candidates[0]) == (False, LIST[0])
    assert {one.country for one in found.candidates} == {"NLD"}
    message, hint = explain_unresolved(wanted, found)
    assert message == "Assure has no document type NLD passportCard for this account"
    assert hint.startswith("use one of NLD passport (137, Dutch passport), ")


@pytest.mark.parametrize(("wanted", "nearest"), [(173, 137), (1370, 137), (185, 188), (5, 58), (900, 191)])
def test_an_unknown_id_lists_the_nearest_ids_with_their_names(wanted: int, nearest: int) -> None:
    found = resolve(LIST, wanted)
    assert isinstance(found, Unresolved)
    assert (found.ambiguous, found.candidates[0].id) == (False, nearest)


def test_the_message_of_an_unknown_id_has_ids_types_and_names() -> None:
    message, hint = explain_unresolved(173, Unresolved((LIST[0], LIST[2]), ambiguous=False))
    assert message == "Assure has no document type 173 for this account"
    expected = "use one of 137 (NLD passport, Dutch passport), 61 (NLD residencePermit)"
    assert hint == f"{expected}; see all of them with `assure-agent document-types`"


def test_a_listed_id_is_its_document_type() -> None:
    assert resolve(LIST, 188) == LIST[3]


def test_an_unknown_country_lists_similar_codes() -> None:
    found = resolve(LIST, DocumentKey("NDL", "passport"))
    assert isinstance(found, Unresolved)
    assert found.candidates == (LIST[0],)


@pytest.mark.parametrize("types", [(), (row(188, "DEU", "visa"),)])
def test_without_similar_types_the_hint_names_the_command(types: tuple[DocumentType, ...]) -> None:
    found = resolve(types, DUTCH_PASSPORT)
    assert isinstance(found, Unresolved)
    assert explain_unresolved(DUTCH_PASSPORT, found)[1] == "see all of them with `assure-agent document-types`"


def test_at_most_five_candidates_are_listed() -> None:
    found = resolve(tuple(row(number) for number in range(1, 20)), DUTCH_PASSPORT)
    assert isinstance(found, Unresolved)
    assert [one.id for one in found.candidates] == [1, 2, 3, 4, 5]


def test_an_admitted_id_is_valid_only_while_country_and_type_mean_it() -> None:
    assert check_admitted_id(resolve(LIST, DUTCH_PASSPORT), 137) == (CallResult.DONE, "")
    assert check_admitted_id(None, 137) == (CallResult.BUSY, "no-document-types")
    assert check_admitted_id(resolve(LIST, DUTCH_PASSPORT), 136) == (CallResult.REFUSED, "another-id")
    assert check_admitted_id(resolve(LIST[1:], DUTCH_PASSPORT), 137) == (CallResult.REFUSED, "not-listed")
    assert check_admitted_id(resolve((*LIST, row(138)), DUTCH_PASSPORT), 137) == (CallResult.REFUSED, "ambiguous")


def test_rows_are_selected_by_country_type_and_text_in_any_case() -> None:
    assert [one.id for one in selected(LIST, None, None, None)] == [191, 188, 58, 137, 61]
    assert [one.id for one in selected(LIST, "nld", "PASSPORT", None)] == [137]
    assert [one.id for one in selected(LIST, None, None, "netherl")] == [58, 137]
    assert [one.id for one in selected(LIST, None, None, "td1")] == [58]
    assert [one.id for one in selected(LIST, "DEU", None, "19")] == [191]


def test_the_create_effect_has_the_country_and_type_of_its_id() -> None:
    story = at_process(upload(document_type=DUTCH_PASSPORT))
    assert isinstance(story.effect, CreateProcess)
    assert (story.effect.document_id, story.effect.document_type) == (137, DUTCH_PASSPORT)


def test_a_document_type_that_is_gone_is_held_before_a_process_is_created() -> None:
    story = at_process(upload(document_type=DUTCH_PASSPORT))
    story.sees(DocumentTypeGone, reason="not-listed")
    record = story.record
    assert record.hold is not None
    assert (record.hold.reason, record.hold.evidence) == (HoldReason.DOCUMENT_TYPE_GONE, "not-listed")
    assert (record.phase, record.intent, record.billed, record.state) == (Phase.PROCESS, None, False, "held")
    assert story.step.answered is not None
    assert story.step.answered.result == "refused"
    assert story.effect is None
