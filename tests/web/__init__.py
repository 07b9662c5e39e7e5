"""The HTTP interfaces of the agent: events, sinks, the API and the status page."""
