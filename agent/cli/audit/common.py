"""How the audit commands refuse a name that the store does not know."""

from agent.core.errors import AgentError


def no_request(name: str) -> AgentError:
    """The store has no request of this name or uid."""
    return AgentError(
        f"There is no request named {name}, and none with this uid.",
        "see all of them with `assure-agent audit query who-asked`",
    )
