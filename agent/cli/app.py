"""The application and its commands."""

from typing import Annotated

import typer

from agent import __version__
from agent.cli import (
    approve,
    audit,
    backup,
    claims,
    describe,
    doctor,
    document_types,
    explain,
    forget,
    get,
    page,
    pause,
    plan,
    rerun,
    resolve,
    restore,
    run,
    sandbox,
    schema,
    validate,
    wait,
)

app = typer.Typer(
    name="assure-agent",
    help="Reconcile identity verification requests in a folder with Signicat Assure (PictureID).\n\n"
    "Exit codes: 0 success, 1 error, 2 wrong use, 3 a request is held, 4 not settled at the timeout, 5 refused files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"assure-agent {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
    env_file: Annotated[
        str | None, typer.Option("--env-file", help="Read this file instead of .env. Empty: none.")
    ] = None,
    config_file: Annotated[
        str | None, typer.Option("--config-file", help="Read this file instead of assure-agent.yaml. Empty: none.")
    ] = None,
    token_host: Annotated[
        str | None, typer.Option("--token-host", help="Additional host that TOKEN_URL may name.")
    ] = None,
) -> None:
    """Declare the options that every command accepts. `agent.cli.main` removes the last three from the arguments."""


app.command("run")(run.run)
app.command("plan")(plan.plan)
app.command("get")(get.get)
app.command("explain")(explain.explain)
app.command("describe")(describe.describe)
app.command("wait")(wait.wait)
app.command("validate")(validate.validate)
app.command("document-types")(document_types.document_types)
app.command("schema")(schema.schema)
app.add_typer(sandbox.app, name="sandbox")
app.command("page")(page.page)
app.command("resolve")(resolve.resolve)
app.command("rerun")(rerun.rerun)
app.command("approve")(approve.approve)
app.command("pause")(pause.pause)
app.command("resume")(pause.resume)
app.command("claims")(claims.claims)
app.command("forget")(forget.forget)
app.command("backup")(backup.backup)
app.command("restore")(restore.restore)
app.command("doctor")(doctor.doctor)
app.add_typer(audit.app, name="audit")
