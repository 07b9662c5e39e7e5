"""The personal data of a record: what a copy of the record must not have."""

from agent.core.fast_replace import replace
from agent.core.record import Desired, Record, hashed_rerun_token


def without_personal_data(record: Record) -> Record:
    """The record without names, labels and paths, as `assure-agent forget` leaves it."""

    def bare(desired: Desired) -> Desired:
        images = tuple(replace(image, path="") for image in desired.images)
        capture = replace(desired.capture, redirect_url="") if desired.capture is not None else None
        return replace(desired, labels=(), file="", line=0, images=images, capture=capture, rerun=None)

    reruns = tuple(hashed_rerun_token(record.uid, token) for token in record.reruns)
    return replace(record, name="", desired=bare(record.desired), reruns=reruns, version=record.version + 1)


def without_origins(record: Record) -> Record:
    """The record without the origins of its documents, which have a table of their own [I6]."""
    if record.desired.origin is not None:
        record = replace(record, desired=replace(record.desired, origin=None))
    if record.next is not None and record.next.origin is not None:
        record = replace(record, next=replace(record.next, origin=None))
    return record
