"""The JSON objects of the API, as pydantic models. The OpenAPI description is generated from them."""

from typing import Annotated, Literal

from pydantic import AnyUrl, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from agent.core.conditions import REASONS
from agent.core.notifications import EVENT_TYPE_PREFIX, NoticeType
from agent.core.record import HoldReason, Outcome, Phase, State

_Generation = Annotated[int, Field(ge=1)]


class _Object(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, use_attribute_docstrings=True)


class Condition(_Object):
    """One condition of a request, in the form of Kubernetes conditions."""

    type: Literal["Ready", "Reconciling", "Stalled"]
    """Ready: the request is settled. Stalled: the operator has to act."""
    status: Literal["True", "False"]
    """True if the condition holds."""
    reason: Annotated[str, Field(json_schema_extra={"enum": sorted(REASONS)})]
    """The reason for the status."""
    observed_generation: _Generation
    """The generation that the condition describes."""
    last_transition_time: AwareDatetime
    """The time of the last change of the status."""


class Request(_Object):
    """A verification request, without its capture link."""

    name: str
    """`metadata.name` of the request file."""
    uid: str
    """The agent's id of the request. It depends on the source and the name only."""
    generation: _Generation
    """The number of the current verification of this request."""
    mode: Literal["upload", "capture"]
    """The source of the images: upload of the files that the request names, or the hosted capture flow."""
    phase: Phase
    """The next piece of work, or done."""
    state: State
    """The state of the work: for example, held waits for an operator."""
    outcome: Outcome | None
    """The outcome, set as soon as it is durable and before the dossier is deleted."""
    reason: HoldReason | None
    """The reason of the hold, while the request is held."""
    hold_id: str | None
    """The id of the hold, which `resolve` names."""
    hold_evidence: str | None
    """The reason of the hold in codes and known words of Assure, if it follows from an answer."""
    external_reference: str | None
    """The externalReference of the dossier."""
    dossier_id: str | None
    """The id of the dossier at Assure."""
    process_id: str | None
    """The id of the process at Assure."""
    due: AwareDatetime | None
    """The time of the next scheduled work."""
    deadline: AwareDatetime | None
    """The time at which the request expires without an outcome, counted from the first create call."""
    admitted_at: AwareDatetime
    """The time at which the agent admitted the request file."""
    settled_at: AwareDatetime | None
    """The time at which the request was done, or was held."""
    commit: str | None
    """The commit of the source from which the agent admitted the current generation, if the source is in git."""
    labels: dict[str, str]
    """The labels of the request file."""
    observed_generation: _Generation
    """The same as `generation`."""
    conditions: list[Condition]
    """The conditions Ready, Reconciling and Stalled."""


class RequestWithLink(Request):
    """A verification request, with its capture link."""

    link: AnyUrl | None
    """The capture link, while the end user can use it: a bearer secret. Send it to the end user, and never store it."""


class Page(_Object):
    """One page of requests."""

    items: list[Request]
    """The requests of this page."""
    cursor: str | None
    """The cursor of the next page, or null on the last page."""


class Replica(_Object):
    """An agent that runs on the store. With a state file only the name is known."""

    name: str
    """The host and the process id, or the process id of the agent on a state file."""
    kind: Literal["replica"]
    """The kind of the process."""
    version: str | None
    """The version of the agent."""
    since: AwareDatetime | None
    """The time at which the replica began to work on the database."""
    lease_seconds: float | None
    """Seconds until its lease ends, unless it renews the lease."""
    driving: int | None
    """How many requests it works on now."""
    turns: list[str]
    """The work that it does alone, such as the scan of a source."""
    answers: bool
    """True for the replica that answers this call."""


class Replicas(_Object):
    """The agents that run on the store."""

    items: list[Replica]
    """The replicas, the oldest first."""


class Problem(_Object):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class EventData(_Object):
    """The request that an event reports. No event contains the capture link or a result's personal data."""

    name: str
    """`metadata.name` of the request file."""
    uid: str
    """The agent's id of the request."""
    generation: _Generation
    """The number of the verification of this request."""
    mode: Literal["upload", "capture"]
    """The source of the images."""
    outcome: Outcome | None
    """The outcome, in the events `settled` and `deleted`."""
    reason: HoldReason | None
    """The reason of the hold, in the event `held`."""
    hold_id: str | None
    """The id of the hold, in the event `held`."""


class CloudEvent(BaseModel):
    """An event in the structured JSON mode of CloudEvents 1.0."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    specversion: Literal["1.0"]
    """The version of CloudEvents."""
    id: str
    """The same for each delivery of one event, and in `webhook-id`. Ignore an id that you have handled."""
    source: str
    """`/assure-agent/` and the agent id."""
    type: Annotated[str, Field(json_schema_extra={"enum": [EVENT_TYPE_PREFIX + notice for notice in NoticeType]})]
    """The event."""
    subject: str
    """The same as `data.uid`."""
    time: AwareDatetime
    """The time of the change."""
    datacontenttype: Literal["application/json"]
    """The type of `data`."""
    data: EventData
    """The request."""
