"""Checks against crashes and a faulty Assure: `python -m verification`. docs/verification.md explains them."""
