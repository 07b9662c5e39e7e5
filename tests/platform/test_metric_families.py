"""Counters and histograms in plain numbers give the text that prometheus_client gives for its own."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

from agent.core.record import Phase
from agent.platform.metric_families import CounterFamily, HistogramFamily
from agent.platform.metric_tables import Definition

LABELS = {"mode": ("upload", "capture"), "phase": (Phase.DOSSIER, Phase.DELETION)}
BUCKETS = (0.5, 1, 60, 3600)
VALUES = (0.0, 0.5, 0.50001, 1, 59.9, 3600, 3601, 1e9)


def _registry(*collectors: Any) -> CollectorRegistry:
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return registry


@pytest.mark.parametrize("encode", [generate_latest, openmetrics])
@pytest.mark.parametrize("labels", [LABELS, {}], ids=["with labels", "without labels"])
def test_a_histogram_has_the_text_of_the_library(
    encode: Callable[[CollectorRegistry], bytes], labels: dict[str, tuple[str, ...]]
) -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    reference = Histogram("assure_agent_took", "Help.", tuple(labels), registry=None, buckets=BUCKETS)
    plain = HistogramFamily("took", Definition("Help.", labels, BUCKETS))
    for mode in labels.get("mode", ("",)):
        for phase in labels.get("phase", ("",)):
            if labels:
                reference.labels(mode, phase)
    series = ("capture", Phase.DELETION) if labels else ()
    for value in VALUES:
        (reference.labels(*series) if labels else reference).observe(value)
        plain.observe(series, value)
    assert encode(_registry(plain)) == encode(_registry(reference))


@pytest.mark.parametrize("encode", [generate_latest, openmetrics])
def test_a_counter_has_the_text_of_the_library(encode: Callable[[CollectorRegistry], bytes]) -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    reference = Counter("assure_agent_calls", "Help.", tuple(LABELS), registry=None)
    plain = CounterFamily("calls", Definition("Help.", LABELS))
    for mode in LABELS["mode"]:
        for phase in LABELS["phase"]:
            reference.labels(mode, phase)
    for number in (1, 7):
        reference.labels("upload", Phase.DOSSIER).inc(number)
        plain.add(("upload", Phase.DOSSIER), number)
    assert encode(_registry(plain)) == encode(_registry(reference))


def test_a_bucket_has_the_last_uid_as_exemplar() -> None:
    plain = HistogramFamily("took", Definition("Help.", {}, BUCKETS))
    plain.observe((), 0.7, "u-1", 1000.0)
    plain.observe((), 0.8, "u-2", 1001.0)
    plain.observe((), 50.0)
    lines = openmetrics(_registry(plain)).decode().splitlines()
    assert [line for line in lines if "#" in line[1:] and "uid" in line] == [
        'assure_agent_took_bucket{le="1.0"} 2.0 # {uid="u-2"} 0.8 1001.0'
    ]


def test_a_series_outside_the_definition_appears_with_use() -> None:
    plain = CounterFamily("calls", Definition("Help.", LABELS))
    plain.add(("upload", "other"))
    assert _registry(plain).get_sample_value("assure_agent_calls_total", {"mode": "upload", "phase": "other"}) == 1
