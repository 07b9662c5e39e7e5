"""Form data of the capture page: texts and pictures, by field name."""

from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import File, FormParser, parse_options_header

from agent.sandbox.model import DEPICTIONS, Json, bad_request

_MULTIPART = "multipart/form-data"


def fields(content_type: str, content: bytes) -> tuple[Json, dict[str, bytes]]:
    """Parse the texts and pictures of a form: multipart from the page, or urlencoded from a script.

    A picture needs no file name. An empty picture counts as not sent. AssureError 400 when multipart is malformed.
    """
    kind, options = parse_options_header(content_type)
    if kind.decode("latin-1") != _MULTIPART:
        return dict(parse_qsl(content.decode("latin-1"))), {}
    values: dict[str, bytes] = {}
    try:
        parser = FormParser(
            _MULTIPART,
            lambda field: values.update({_text(field.field_name): field.value or b""}),
            lambda file: values.update({_text(file.field_name): _content(file)}),
            boundary=options.get(b"boundary"),
            config={"MAX_MEMORY_FILE_SIZE": len(content) + 1},  # no picture is written to a temporary file
        )
        parser.write(content)
        parser.finalize()
    except FormParserError:
        raise bad_request("The form is not valid multipart/form-data.") from None
    texts = {name: value.decode("utf-8", "replace") for name, value in values.items() if name not in DEPICTIONS}
    return texts, {name: value for name, value in values.items() if name in DEPICTIONS and value}


def _text(name: bytes | None) -> str:
    return (name or b"").decode("utf-8", "replace")


def _content(file: File) -> bytes:
    file.file_object.seek(0)
    return file.file_object.read()
