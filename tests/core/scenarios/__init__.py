"""Scenarios of the state machine: each function drives one record. `transcripts/` has the text of each.

The docstring of a scenario is the head of its transcript. A private function is a part of other scenarios.
"""
