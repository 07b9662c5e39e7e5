"""The agent's face to everybody but Assure: events, sinks, the API and the status page."""
