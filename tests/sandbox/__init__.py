"""Tests of the simulator against the vendor's OpenAPI, the contract, and its own documentation."""
