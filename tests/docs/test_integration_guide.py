"""The guide for web applications matches the API, and its example is a valid event."""

import json
import re
from pathlib import Path

from jsonschema import Draft202012Validator

from agent.core.notifications import EVENT_TYPE_PREFIX, NoticeType
from agent.web.openapi import openapi

GUIDE = (Path(__file__).parents[2] / "docs/integration.md").read_text()


def test_the_example_of_an_event_is_valid_and_complete() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    event, components = json.loads(text), openapi()["components"]
    Draft202012Validator({"$ref": "#/components/schemas/CloudEvent", "components": components}).validate(event)
    assert event.keys() == components["schemas"]["CloudEvent"]["properties"].keys()
    assert event["data"].keys() == components["schemas"]["EventData"]["properties"].keys()


def test_every_event_is_in_the_guide_and_in_the_description() -> None:
    types = {EVENT_TYPE_PREFIX + notice for notice in NoticeType}
    assert set(re.findall(r"^\| `(example\.[\w.-]+)` \|", GUIDE, re.MULTILINE)) == types
    assert set(openapi()["webhooks"]) == types
