"""The generated reference pages: commands, the API from OpenAPI, and request files from the schema."""

from collections.abc import Iterator, Sequence
from typing import Any

from command_line import command_help, commands, parameters, usage

from agent.cli.help import SECTIONS, summary

Schema = dict[str, Any]


def page_of(name: str) -> str:
    """The file name of a command's page."""
    return f"{name.replace(' ', '-')}.md"


def command_table() -> str:
    """All commands in the sections of the help: a link to the page of each, and its summary."""
    lines = ["| command | purpose |", "|---|---|"]
    for section, names in SECTIONS.items():
        lines.append(f"| **{section}** | |")
        for name, command in commands().items():
            if name.partition(" ")[0] in names:
                lines.append(f"| [`assure-agent {name}`]({page_of(name)}) | {_cell(summary(command.help))} |")
    return "\n".join(lines)


def command_page(name: str) -> str:
    """Help, usage, arguments, options and example of a command."""
    command = commands()[name]
    said = command_help(command)
    lines = ["\n\n".join(said.paragraphs)]
    if said.exit_codes:
        lines += ["", f"**Exit codes:** {said.exit_codes}"]
    lines += ["", "```sh", usage(name, command), *said.examples, "```"]
    for title, rows in parameters(command).items():
        if rows:
            lines += ["", f"| {title.lower()} | default | meaning |", "|---|---|---|"]
            for row in rows:
                shown = ", ".join(f"`{one}`" for one in row.names)
                default = f"`{row.default}`" if row.default else "required" if row.required else ""
                lines.append(f"| {shown} | {default} | {_cell(row.meaning)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def api(description: Schema) -> str:
    """The operations, the events and the answers of the API."""
    lines: list[str] = []
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            lines += [f"### `{method.upper()} {path}`", "", *_operation(operation, description), ""]
    for event, operations in description["webhooks"].items():
        body = operations["post"]["requestBody"]["content"]["application/cloudevents+json"]
        sent = f"The agent sends a POST with a {_type(body['schema'])}."
        lines += [f"### Event `{event}`", "", sent, "", *_operation(operations["post"], description), ""]
    for name, schema in description["components"]["schemas"].items():
        lines += [f"### {name}", "", *_fields_of(schema), ""]
    return "\n".join(lines).rstrip()


def _operation(operation: Schema, description: Schema) -> Iterator[str]:
    yield f"{operation['summary']}.\n"
    yield "| parameter | in | type | meaning |"
    yield "|---|---|---|---|"
    for one in operation.get("parameters", ()):
        meaning = one.get("description", "The name of the request.")
        yield f"| `{one['name']}` | {one['in']} | {_type(one['schema'])} | {meaning} |"
    yield "\n| status | answer |"
    yield "|---|---|"
    for status, answer in operation["responses"].items():
        yield f"| {status} | {_answer(answer, description)} |"


def _answer(answer: Schema, description: Schema) -> str:
    if "$ref" in answer:
        answer = description["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    bodies = [_type(body["schema"]) for body in answer.get("content", {}).values()]
    return " ".join([answer["description"], *bodies])


def _fields_of(schema: Schema) -> Iterator[str]:
    if "description" in schema:
        yield f"{schema['description']}\n"
    for part in schema.get("allOf", [schema]):
        if "$ref" in part:
            yield f"All fields of {_type(part)}, and:\n"
        elif "properties" in part:
            yield "| field | type | meaning |"
            yield "|---|---|---|"
            for name, field in part["properties"].items():
                yield f"| `{name}` | {_type(field)} | {_meaning(field)} |"
        else:
            yield _type(part)


def _meaning(field: Schema) -> str:
    found = [field, *field.get("anyOf", ())]
    return _cell(next((one["description"] for one in found if "description" in one), ""))


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    bounds = [f"{word} {schema[key]}" for word, key in (("from", "minimum"), ("to", "maximum")) if key in schema]
    return " ".join([str(schema.get("type", "any")), schema.get("format", ""), *bounds]).replace("  ", " ").strip()


def request_fields(schema: Schema) -> str:
    """The fields of a request file, parents first."""
    rows = ["| field | required or default | meaning |", "|---|---|---|"]
    rows += [f"| `{'.'.join(path)}` | {need} | {_cell(meaning)} |" for path, need, meaning in _walk(schema, schema, ())]
    return "\n".join(rows)


def _walk(part: Schema, root: Schema, path: Sequence[str]) -> Iterator[tuple[Sequence[str], str, str]]:
    required = part.get("required", ())
    for name, field in part.get("properties", {}).items():
        if "/" in name:  # a key of the annotations
            continue
        target = _resolved(field, root)
        yield [*path, name], _need(name, field, target, name in required), _says(field, target)
        yield from _walk(target, root, [*path, name])


def _resolved(field: Schema, root: Schema) -> Schema:
    for one in [field, *field.get("anyOf", ()), *field.get("allOf", ())]:
        if "$ref" in one:
            found: Schema = root["$defs"][one["$ref"].rpartition("/")[2]]
            return found
    return field


def _need(name: str, field: Schema, target: Schema, required: bool) -> str:
    if required:
        return "required"
    default = field.get("default", target.get("default"))
    if default is None or isinstance(default, dict):
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _says(field: Schema, target: Schema) -> str:
    text = str(field.get("description") or target.get("description") or "")
    values = target.get("enum") or ([target["const"]] if "const" in target else [])
    return f"{text} One of {', '.join(f'`{value}`' for value in values)}." if len(values) > 1 else text
