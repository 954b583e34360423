"""What dashboard and alerts ask Prometheus is PromQL, about metrics and labels that the service really exposes."""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import promql_parser as promql
import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from app.metrics import FAILURES, STATUSES
from tests.conftest import ROOT, SAMPLES

DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/percept.json").read_text(encoding="utf-8"))
RULES = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
PANELS: dict[str, dict[str, Any]] = {panel["title"]: panel for panel in DASHBOARD["panels"]}
# Grafana puts a time in its place.
INTERVAL = "$__rate_interval"
# Prometheus itself gives every series these, and `up` to every target.
GIVEN = {"job", "instance"}
REASONS, STATUS = set(FAILURES), {*map(str, STATUSES), "other"}


def expressions() -> dict[str, str]:
    found = {
        f"{title}: {target['legendFormat']}": target["expr"].replace(INTERVAL, "5m").replace("$model", ".*")
        for title, panel in PANELS.items()
        for target in panel["targets"]
    }
    rules = {rule["alert"]: rule["expr"] for group in RULES["groups"] for rule in group["rules"]}
    return found | rules


EXPRESSIONS = expressions()


@pytest.fixture(scope="module")
def exposed(client: TestClient) -> dict[str, set[str]]:
    """Names of samples with their labels, after some requests."""
    seven = (SAMPLES / "seven.png").read_bytes()
    client.post("/predict/digits", content=seven, headers={"Content-Type": "image/png"})
    client.post("/predict/digits", content=b"", headers={"Content-Type": "image/png"})
    found: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            found[sample.name] |= set(sample.labels)
    return {name: labels | GIVEN for name, labels in found.items()} | {"up": GIVEN}


def nodes(node: Any) -> Iterator[Any]:
    yield node
    for name in ("lhs", "rhs", "expr", "args", "vector_selector"):
        below = getattr(node, name, None) or []
        for child in below if isinstance(below, list) else [below]:
            yield from nodes(child)


def selectors(expression: str) -> list[Any]:
    return [node for node in nodes(promql.parse(expression)) if isinstance(node, promql.VectorSelector)]


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expression_asks_for_what_is_exposed(name: str, exposed: dict[str, set[str]]) -> None:
    found = selectors(EXPRESSIONS[name])

    assert found
    for selector in found:
        assert selector.name in exposed
        for matcher in selector.matchers.matchers:
            assert matcher.name in exposed[selector.name]
            allowed = {"reason": REASONS, "status": STATUS}.get(matcher.name)
            assert allowed is None or set(matcher.value.split("|")) <= allowed


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expression_groups_by_labels_that_are_there(name: str, exposed: dict[str, set[str]]) -> None:
    for node in nodes(promql.parse(EXPRESSIONS[name])):
        if isinstance(node, promql.AggregateExpr) and node.modifier:
            below = {selector.name for selector in selectors(node.expr.prettify())}
            for metric in below:
                assert set(node.modifier.labels) <= exposed[metric]


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_quantiles_keep_the_bounds_and_counters_are_asked_for_their_rate(name: str) -> None:
    for node in nodes(promql.parse(EXPRESSIONS[name])):
        if isinstance(node, promql.Call) and node.func.name == "histogram_quantile":
            assert "le" in node.args[1].modifier.labels
    for selector in selectors(EXPRESSIONS[name]):
        counter = selector.name.endswith(("_total", "_bucket", "_sum", "_count"))
        assert counter == (f"rate({selector.name}" in EXPRESSIONS[name])


def test_an_expression_that_is_none_would_be_noticed() -> None:
    with pytest.raises(ValueError):
        promql.parse("sum by (model (rate(percept_predictions_total[5m]))")


def test_dashboard_has_what_an_operator_looks_for() -> None:
    asked = {selector.name for expression in EXPRESSIONS.values() for selector in selectors(expression)}

    assert asked >= {
        "percept_responses_total",
        "percept_request_seconds_bucket",
        "percept_queued_requests",
        "percept_rejections_total",
        "percept_batch_rows_sum",
        "percept_models_loaded",
    }
    [model] = DASHBOARD["templating"]["list"]
    assert model["query"]["query"].startswith("label_values(percept_predictions_total{")


def test_panels_neither_overlap_nor_leave_the_dashboard() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS.values():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in PANELS.values()}) == len(DASHBOARD["panels"]) == len(PANELS)


def test_alerts_say_whom_and_what() -> None:
    for group in RULES["groups"]:
        for rule in group["rules"]:
            assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"]["summary"]
