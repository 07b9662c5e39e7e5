"""Bytes to documents and faults: positions, messages, and hostile input."""

import json
import time
from dataclasses import asdict

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.assure_types import Depiction
from agent.source import yaml_reader
from agent.source.diagnostics import Fault, printable_path
from agent.source.loader import MAX_FILE_BYTES, LoadedFile, load
from agent.source.scan import may_hide_names
from agent.source.yaml_reader import Limits

UPLOAD = """\
apiVersion: assure-agent/v1
kind: VerificationRequest
metadata:
  name: NAME
  labels: {team: onboarding}
spec:
  processType: document
  upload:
    documentId: 137
    images:
      front: NAME/front.jpg
"""

CAPTURE = """\
apiVersion: assure-agent/v1
kind: VerificationRequest
metadata: {name: NAME}
spec:
  processType: documentSelfie
  capture: {redirectUrl: "https://shop.example/verified"}
"""


def upload(name: str = "customer-1") -> str:
    """A good upload request of that name, in a text whose lines and columns are known."""
    return UPLOAD.replace("NAME", name)


def capture(name: str = "customer-2") -> str:
    """A good capture request of that name."""
    return CAPTURE.replace("NAME", name)


def faults(text: str | bytes) -> list[str]:
    """Each fault as one line of text, without the file."""
    loaded = load(text.encode() if isinstance(text, str) else text, "f.yaml")
    return [str(fault).removeprefix("f.yaml:") for fault in loaded.faults]


def the_fault(text: str | bytes) -> Fault:
    """The only fault."""
    (fault,) = load(text.encode() if isinstance(text, str) else text, "f.yaml").faults
    return fault


def test_a_good_file_gives_its_documents_and_their_position() -> None:
    loaded = load(f"# two of them\n{upload()}---\n{capture()}".encode(), "a/b.yaml")
    first, second = loaded.documents
    assert (first.name, first.file, first.line) == ("customer-1", "a/b.yaml", 2)
    assert (second.name, second.line) == ("customer-2", 14)
    assert first.images == ((Depiction.FRONT, (12, 14)),)
    assert first.request.mode == "upload"
    assert loaded.faults == ()
    assert loaded.whole


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "---\n---\n# x\n---\n", "\ufeff", "\r\n"])
def test_a_file_without_a_request_is_a_fault_and_hides_what_it_held(text: str) -> None:
    """An editor or a full disk may have emptied it: its names are not absent."""
    loaded = load(text.encode(), "f.yaml")
    assert [str(fault) for fault in loaded.faults] == ["f.yaml:1:1: the file contains no request"]
    assert may_hide_names(loaded)


def test_documents_of_other_kinds_are_ignored_if_the_setting_says_so() -> None:
    text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
    assert load(text.encode(), "f.yaml").faults
    assert load(text.encode(), "f.yaml", foreign=True) == LoadedFile()
    mixed = load(f"{text}---\n{upload()}".encode(), "f.yaml", foreign=True)
    assert (len(mixed.documents), mixed.faults) == (1, ())
    for ours in ("apiVersion: assure-agent/v2\nkind: VerificationRequest\n", "kind: VerificationRequest\n"):
        assert load(ours.encode(), "f.yaml", foreign=True).faults


def test_empty_labels_and_a_plain_zero_are_read_as_in_kubernetes() -> None:
    text = upload().replace("{team: onboarding}", "\n  annotations:") + "  retention: 0\n"
    (document,) = load(text.encode(), "f.yaml").documents
    assert dict(document.request.metadata.labels) == {}
    assert document.request.spec.retention == 0


def test_a_byte_order_mark_and_windows_line_ends_do_not_change_positions() -> None:
    text = upload().replace("documentId: 137", "documentId: x").replace("\n", "\r\n")
    assert faults("\ufeff" + text) == ["9:17: spec.upload.documentId: expected a whole number; found text"]


def test_plain_scalars_are_read_as_yaml_1_2_does() -> None:
    text = "a: [no, on, yes, 2026-11-23, 12:30:00, 0o17, 0x1F, 1_000, 010, +1, -2, 1.5, 1e3, .5, '', 'true', \"1\"]\n"
    text += "b: [true, False, null, ~, , -.inf, 123456789012345678901234567890]"
    (found,) = yaml_reader.parse_documents(text.replace(", ,", ", !x '',").replace("!x ''", "null"), Limits())
    assert found.value == {
        "a": [
            "no",
            "on",
            "yes",
            "2026-11-23",
            "12:30:00",
            15,
            31,
            "1_000",
            10,
            1,
            -2,
            1.5,
            1000.0,
            0.5,
            "",
            "true",
            "1",
        ],
        "b": [True, False, None, None, None, float("-inf"), 123456789012345678901234567890.0],
    }


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("kind: VerificationRequest", "kind: Pod", "2:7: kind: expected `VerificationRequest`"),
        ("kind: VerificationRequest\n", "", "1:1: kind is missing"),
        ("  name: customer-1\n", "", "4:3: metadata.name is missing"),
        ("name: customer-1", "name: 4711", "4:9: metadata.name: expected text"),
        ("name: customer-1", "name: [a]", "4:9: metadata.name: expected text"),
        ("{team: onboarding}", "{team: 1}", "5:18: metadata.labels.team: expected text"),
        ("{team: onboarding}", "[a]", "5:11: metadata.labels: expected `key: value` lines"),
        ("documentId: 137", "documentId: '137'", "9:17: spec.upload.documentId: expected a whole number"),
        ("documentId: 137", "documentId: 137.5", "9:17: spec.upload.documentId: expected a whole number"),
        ("documentId: 137", "documentId: 0", "9:17: spec.upload.documentId: expected a number greater than 0"),
        ("documentId: 137", "documentID: 137", "9:5: unknown field spec.upload.documentID"),
        (
            "documentId: 137",
            "readBack: 'true'\n    documentId: 1",
            "9:15: spec.upload.readBack: expected true or false",
        ),
        (
            "processType: document",
            "processType: video",
            "7:16: spec.processType: expected `document` or `documentSelfie`",
        ),
        (
            "processType: document",
            "processType: document\n  suspend: yes",
            "8:12: spec.suspend: expected true or false",
        ),
        (
            "processType: document",
            "processType: document\n  deadline: 24",
            "8:13: spec.deadline: expected a duration such",
        ),
        ("front:", "fromt:", "11:7: unknown field spec.upload.images.fromt"),
        ("front: customer-1/front.jpg", "front: /etc/passwd", "11:14: spec.upload.images.front: expected a path below"),
        ("    images:\n      front: customer-1/front.jpg\n", "", "9:5: spec.upload.images is missing"),
        ("upload:", "upload: &x", "8:11: anchors (`&`) are not allowed"),
        ("documentId: 137", "documentId: *x", "9:17: aliases (`*`) are not allowed"),
        ("documentId: 137", "documentId: !!int 137", "9:17: tags (`!`) are not allowed"),
        ("  processType", "  <<: {}\n  processType", "7:3: merge keys (`<<`) are not allowed"),
        ("  upload:", "  processType: document\n  upload:", "8:3: duplicate key spec.processType, first at line 7"),
        ("  name: customer-1", "  name: customer-1\n  1: x", "5:3: expected text as a key"),
        ("  name: customer-1", "  name: customer-1\n  ? [a]\n  : x", "5:5: expected text as a key"),
        ("name: customer-1", 'name: "a\\0"', "4:9: control characters are not allowed"),
        ("name: customer-1", "name: a\tb\x0b", "4:12: control characters are not allowed"),
        ("kind:", "\tkind:", "2:1: not valid YAML: found a tab character that violates indentation"),
        ("  labels:", "\tlabels:", "5:1: not valid YAML: found"),
        ("kind: V", "kind: x: V", "2:8: not valid YAML: mapping values are not allowed in this context"),
    ],
)
def test_a_fault_has_the_expectation_and_its_position(old: str, new: str, expected: str) -> None:
    assert old in upload()
    found = faults(upload().replace(old, new, 1))
    assert any(line.startswith(expected) for line in found), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("just text", "1:1: expected a request: `key: value` lines"),
        ("\n- a\n", "2:1: expected a request: `key: value` lines"),
        (b"a: 1\nb: \xff", "2:4: the file is not UTF-8 text"),
        (b"a: \xc3\xa9\xc3\n", "1:5: the file is not UTF-8 text"),
        ("é: \0", "1:4: control characters are not allowed"),
        ("a: 1\n%TAG ! x", "2:1: tag directives (`%TAG`) are not allowed"),
        ("a: 'x", "1:6: not valid YAML: found unexpected end of stream"),
        (b"x" * (MAX_FILE_BYTES + 1), "1:1: the file is larger than 1 MiB"),
    ],
)
def test_a_file_that_is_not_a_request_file_is_refused_at_its_first_error(text: str | bytes, expected: str) -> None:
    assert faults(text)[0] == expected


def test_all_faults_of_a_document_are_reported_in_order() -> None:
    text = upload().replace("kind: V", "kind: v").replace("137", "x").replace("front:", "front: 1 #")
    text = text.replace("spec:", "spec:\n  extra: 1\n  kind: 2\n  kind: 3", 1)
    assert faults(text) == [
        "2:7: kind: expected `VerificationRequest`",
        "7:3: unknown field spec.extra",
        "8:3: unknown field spec.kind",
        "9:3: duplicate key spec.kind, first at line 8",
        "12:17: spec.upload.documentId: expected a whole number; found text",
        "14:14: spec.upload.images.front: expected text; found a number",
    ]


def test_a_document_has_the_position_of_its_document_type() -> None:
    text = upload().replace("documentId: 137", "documentType: {country: NLD, type: passport}")
    (typed,) = load(text.encode(), "f.yaml").documents
    (plain,) = load(upload().encode(), "f.yaml").documents
    assert (typed.type_at, plain.type_at) == ((9, 19), None)


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("documentId: 137", "documentID: 137", "Did you mean `documentId`?"),
        ("front:", "fronnt:", "Did you mean `front`?"),
        ("spec:", "documentId: 1\nspec:", "Did you mean `spec.upload.documentId`?"),
        ("spec:", "zzz: 1\nspec:", "the fields here are apiVersion, kind, metadata, spec"),
        ("documentId: 137", "documentId: 137\n    documentType: {country: NLD, type: visa}", "remove one of the two"),
        ("documentId: 137\n", "documentId: '137'\n", "without quotes"),
    ],
)
def test_the_hint_is_a_remedy(old: str, new: str, hint: str) -> None:
    loaded = load(upload().replace(old, new, 1).encode(), "f.yaml")
    assert any(hint in fault.hint for fault in loaded.faults)


def test_an_alias_is_reported_once_and_not_again_as_a_wrong_value() -> None:
    assert the_fault(upload().replace("137", "*x")).message == "aliases (`*`) are not allowed"
    assert the_fault(upload().replace("customer-1\n", "*x\n", 1)).message == "aliases (`*`) are not allowed"


def test_documents_before_a_syntax_error_are_good() -> None:
    loaded = load(f"{upload()}---\n{capture()}  x: [\n".encode(), "f.yaml")
    assert [document.name for document in loaded.documents] == ["customer-1"]
    assert [fault.name for fault in loaded.faults] == ["customer-2"]
    assert not loaded.whole


def test_documents_after_a_refused_one_are_good() -> None:
    loaded = load(f"{upload().replace('137', '*x')}---\n- a\n---\n{capture()}".encode(), "f.yaml")
    assert [document.name for document in loaded.documents] == ["customer-2"]
    assert [fault.name for fault in loaded.faults] == ["customer-1", None]
    assert loaded.whole


def test_a_fault_names_its_document_only_if_the_name_is_valid() -> None:
    assert the_fault(upload().replace("137", "x")).name == "customer-1"
    assert the_fault(upload("Jan Jansen").replace("Jan Jansen/", "j/")).name is None


def test_faults_hold_no_value_that_could_be_personal() -> None:
    text = upload("jansen").replace("jansen/", "../jansen/").replace("name: jansen", "name: Jansen")
    text = text.replace(
        "{team: onboarding}", "{team: jan jansen}\n  annotations: {assure-agent/rerun: [jansen], jansen: 1}"
    )
    loaded = load(text.encode(), "f.yaml")
    assert len(loaded.faults) == 5
    reported = [(fault.message + fault.hint).lower().replace("annotations.jansen", "") for fault in loaded.faults]
    assert not any("jansen" in one for one in reported)


def test_a_long_field_name_is_cut() -> None:
    (fault,) = load(upload().replace("spec:", f"{'x' * 500}: 1\nspec:", 1).encode(), "f.yaml").faults
    assert len(fault.message) < 80


def test_a_fault_is_json_safe_and_prints_as_one_line() -> None:
    fault = the_fault(upload().replace("137", "x"))
    assert str(fault) == "f.yaml:9:17: spec.upload.documentId: expected a whole number; found text"
    assert json.dumps(asdict(fault))
    assert printable_path("a\n\udcffé\x1b[m/b.yaml") == "a\\n\\udcffé\\x1b[m/b.yaml"


HOSTILE = {
    "nested brackets": b"[" * 200_000,
    "nested brackets, closed": b"[" * 200_000 + b"]" * 200_000,
    "nested braces": b"{a: " * 100_000,
    "nested lists": b"- " * 200_000,
    "nested keys": b"? " * 200_000,
    "billion laughs": b"a: &a [x, x]\n"
    + b"".join(b"%c: &%c [*%c, *%c]\n" % (i, i, i - 1, i - 1) for i in range(98, 122)),
    "anchors": b"&a " * 300_000,
    "aliases": b"*a " * 300_000,
    "tag directives": b"".join(b"%%TAG !a%d! b\n" % i for i in range(60_000)) + b"---\n",
    "documents": b"---\n" * 250_000,
    "equal keys": b"a:\n" * 300_000,
    "many keys": b"".join(b"k%d:\n" % i for i in range(100_000)),
    "a long list": b"[" + b"a," * 500_000,
    "digits": b"a: " + b"9" * 1_000_000,
    "hexadecimal digits": b"a: 0x" + b"f" * 1_000_000,
    "a long name": b"metadata: {name: " + b"a." * 500_000 + b"}",
    "a long key": b"metadata: {labels: {" + b"a-" * 500 + b"_: 1}}",
    "a quote without an end": b'"' + b"a" * 1_000_000,
    "comment": b"#" * 1_000_000,
    "percent": b"%" * 1_000_000,
    "tabs": b"a:\n" + b"\t" * 500_000 + b"b: 1",
    "binary": bytes(range(256)) * 4000,
    "utf-16": "a: 1".encode("utf-16"),
    "nul": b"a: \x00",
    "lone surrogate": b"a: \xed\xa0\x80",
    "escaped surrogate": b'a: "\\ud800"',
    "unicode names": "Zoë: {名前: '🪪'}".encode(),
    "unicode line ends": "a: b\u2028c: \u0085d".encode(),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_refused_quickly(content: bytes) -> None:
    begin = time.process_time()
    loaded = load(content, "f.yaml")
    assert time.process_time() - begin < 5
    assert loaded.documents == ()
    assert loaded.faults or content.startswith((b"---", b"#"))


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_without_the_parser_in_c_the_parser_in_python_gives_the_same_result(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_reader, "_PARSER", yaml.SafeLoader)
    loaded = load(content[:20_000], "f.yaml")
    assert loaded.documents == ()
    assert load(upload().encode(), "f.yaml").documents[0].name == "customer-1"


def only_loaded(content: bytes) -> None:
    loaded = load(content, "f.yaml")
    assert isinstance(loaded, LoadedFile)
    assert json.dumps([asdict(fault) for fault in loaded.faults])
    assert loaded.whole or loaded.faults
    for fault in loaded.faults:
        assert fault.line >= 1
        assert fault.column >= 1
        assert "pydantic" not in fault.message + fault.hint
        assert "Input should" not in fault.message
        assert "as reported" not in fault.message
        assert "something else" not in fault.message  # an error of pydantic without a message of the agent


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_loaded_result(content: bytes) -> None:
    only_loaded(content)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:-?[]{}&*!|>'\"%@`#,~<=1. \n\t\r\\0\u2028é", max_size=80))
def test_any_yaml_gives_a_loaded_result(text: str) -> None:
    only_loaded(text.encode())


SCRAPS = [
    "",
    " ",
    "\n",
    "\t",
    ":",
    "- ",
    "[",
    "}",
    "&a",
    "*a",
    "!!",
    "<<:",
    "null",
    "1",
    "true",
    "'",
    '"',
    "---\n",
    "\0",
    "é",
    "#",
]
PIECES = st.sampled_from([*SCRAPS, "spec:", "capture: {}", "upload:", "x" * 50])


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([upload(), capture(), f"{upload()}---\n{capture()}"]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20), PIECES), min_size=1, max_size=4),
)
def test_any_change_of_a_good_document_gives_a_loaded_result(text: str, cuts: list[tuple[float, int, str]]) -> None:
    for place, length, piece in cuts:
        at = int(place * len(text))
        text = text[:at] + piece + text[at + length :]
    only_loaded(text.encode())


def test_the_caller_chooses_the_limits() -> None:
    nested = b"a: {b: {c: 1}}"
    assert "nested deeper than 2 levels" in load(nested, "f", Limits(depth=2)).faults[0].message
    assert "more than 2 values" in load(nested, "f", Limits(nodes=2)).faults[0].message
    assert "larger" in load(nested, "f", Limits(file_bytes=5)).faults[0].message


def test_a_document_keeps_its_model_until_it_is_released() -> None:
    (document,) = load(upload("a").encode(), "a.yaml").documents
    first = document.request
    assert document.request is first
    document.release()
    assert document.request is not first
    assert document.request == first
