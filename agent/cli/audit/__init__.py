"""`assure-agent audit`: read-only commands for auditors."""

import typer

from agent.cli.audit import certificate, export, log, query, verify
from agent.cli.help import SectionedGroup

app = typer.Typer(help="Read the audit log.", cls=SectionedGroup, no_args_is_help=True, rich_markup_mode=None)
app.command("log")(log.log)
app.command("verify")(verify.verify)
app.command("query")(query.query)
app.command("export")(export.export)
app.command("certificate")(certificate.certificate)
