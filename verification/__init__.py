"""Proofs against crashes and a misbehaving Assure. `python -m proof` says which; docs/proof.md says what they show."""
