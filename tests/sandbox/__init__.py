"""Tests of the simulator: it against the vendor's OpenAPI, against the contract, and against its own word."""
