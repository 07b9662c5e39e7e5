"""`assure-agent audit`: the questions of an auditor. All of them only read."""

import typer

from agent.cli.audit import certificate, export, log, query, verify

app = typer.Typer(help="Questions of an auditor; all of them only read.", no_args_is_help=True, rich_markup_mode=None)
app.command("log")(log.log)
app.command("verify")(verify.verify)
app.command("query")(query.query)
app.command("export")(export.export)
app.command("certificate")(certificate.certificate)
