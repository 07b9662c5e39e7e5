"""The door of the controller for observations that it did not cause itself."""

from collections.abc import Awaitable, Callable, Mapping

from agent.core.observations import Observation

Deliver = Callable[[Mapping[str, Observation]], Awaitable[None]]
"""Delivers observations by uid. Returns when they are durable."""
