"""`assure-agent schema`: the request file for editors and other programs."""

import typer


def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of the request file.

    Editors with a YAML language server read it from a first line `# yaml-language-server: $schema=schema.json`.
    It cannot say everything that `assure-agent validate` checks.

    Example: assure-agent schema > specs/schema.json
    """
    from agent.core.request_schema import schema_text

    typer.echo(schema_text(), nl=False)
