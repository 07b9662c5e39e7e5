"""`assure-agent schema`: print the JSON Schema of the request file."""

import typer


def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of the request file.

    Editors with a YAML language server read it from a first line `# yaml-language-server: $schema=schema.json`.
    `assure-agent validate` also checks rules that a schema cannot express.

    Example: assure-agent schema > specs/schema.json
    """
    from agent.core.request_schema import schema_text

    typer.echo(schema_text(), nl=False)
