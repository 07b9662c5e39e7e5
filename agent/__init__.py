"""The Assure Agent: verification requests in a git folder, reconciled against Signicat Assure."""

__version__ = "0.1.0"
DOCUMENTATION = "https://assure-agent.example"  # the site that `make site` builds
