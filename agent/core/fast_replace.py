"""Fast copies of frozen dataclasses with changes. A step makes many of them."""

from typing import TYPE_CHECKING

__all__ = ["replace"]

if TYPE_CHECKING:  # for mypy, which then checks names and types of the changes
    from dataclasses import replace
else:
    from dataclasses import replace as _replace
    from typing import Any

    def replace(value: Any, **changes: Any) -> Any:
        """As `dataclasses.replace`, which needs 10 µs for a record of 50 fields; a copy of its `__dict__` needs 1 µs.

        The fast copy applies only to a class with a `__dict__` and without `__post_init__`.
        """
        fields = getattr(value, "__dict__", None)
        if fields is None or hasattr(value, "__post_init__"):
            return _replace(value, **changes)
        whole = {**fields, **changes}
        if len(whole) != len(fields):
            raise TypeError(f"unknown fields: {sorted(changes.keys() - fields.keys())}")
        copy = object.__new__(type(value))
        object.__setattr__(copy, "__dict__", whole)
        return copy
