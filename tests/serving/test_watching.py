"""Holds what watches the service to what it measures: alerts, the board and where they get their figures."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from serving.app import describe
from serving.metrics import Metrics
from tests.serving.manifests import KUBERNETES, OPERATIONS, PORT, SERVICES
from tests.serving.staffed import Service, post_urgent

ALERTS = [
    rule
    for group in yaml.safe_load((OPERATIONS / "alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
BOARD = json.loads((OPERATIONS / "grafana" / "dashboards" / "mingbian.json").read_text("utf-8"))
EXPRESSIONS = [rule["expr"] for rule in ALERTS] + [
    target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", [])
]
# Prometheus makes these itself.
ITS_OWN = {"up", "ALERTS"}
each_alert = pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
RULE_TESTS = Path(__file__).with_name("alerts_tests.yml")


def exposed() -> set[str]:
    """Every name that the service's metrics are kept under."""
    names = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", Metrics().text().decode(), re.MULTILINE):
        names |= (
            {f"{name}{part}" for part in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
        )
    return names


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Each metric that an expression reads, and the labels that it is selected by."""
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\b\s*(\([^)]*\))?", " ", expression)
    bare = re.sub(r"\[[^\]]*\]|offset \w+", " ", bare)
    words = re.finditer(
        r'(?<![\w."/])([a-zA-Z_:]\w*)\s*(\{(?:[^}"]|"[^"]*")*\}|\()?', re.sub(r"\n", " ", bare)
    )
    found = [(match[1], match[2] or "") for match in words if match[2] != "("]
    return [
        (name, set(re.findall(r"(\w+)\s*[=!]", re.sub(r'"[^"]*"', '""', chosen))))
        for name, chosen in found
        if name not in {"and", "or", "unless", "bool"}
    ]


@pytest.mark.parametrize(
    ("expression", "read"),
    [
        ("a_b > 9e6", [("a_b", set())]),
        (
            'sum by (le) (rate(x{y="a}b", z!~"c|d"}[$__i])) / on () q',
            [("x", {"y", "z"}), ("q", set())],
        ),
        ("absent(x offset 8h) or vector(0)", [("x", set())]),
    ],
)
def test_expressions_are_read_rightly(expression: str, read: list[tuple[str, set[str]]]) -> None:
    assert selectors(expression) == read


def test_only_what_the_service_measures_is_watched() -> None:
    read = {name for expression in EXPRESSIONS for name, _ in selectors(expression)}
    assert len(read) > 10
    assert read - exposed() - ITS_OWN == set()


def test_only_labels_that_exist_are_asked_for(light: Service) -> None:
    """As far as one order, one claim and one look at the queue make them."""
    post_urgent(light)
    text = light.anyone().get("/metrics").text
    labels = {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert labels
    for expression in EXPRESSIONS:
        for name, asked in selectors(expression):
            if name in labels:
                assert asked <= labels[name] | {"job", "instance"}, expression


def test_only_routes_that_exist_are_asked_for() -> None:
    paths = set(describe()["paths"])
    asked = {route for text in EXPRESSIONS for route in re.findall(r'route[=!]~?"([^"]*)"', text)}
    assert asked
    for pattern in asked:
        for alternative in pattern.split("|"):
            assert any(re.fullmatch(re.escape(alternative).replace(r"\.\*", ".*"), path) for path in paths)


@each_alert
def test_an_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["for"]
    for said in ("summary", "action"):
        assert re.search("[一-鿿]", rule["annotations"][said])
    assert rule["alert"] in RULE_TESTS.read_text("utf-8")


def test_alerts_call_when_they_must_and_not_before() -> None:
    if not shutil.which("promtool"):
        pytest.skip("no promtool to evaluate the rules with")
    command = ["promtool", "test", "rules", str(RULE_TESTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_asks_every_server() -> None:
    config = yaml.safe_load((OPERATIONS / "prometheus.yml").read_text("utf-8"))
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "mingbian"
    assert job["metrics_path"] in describe()["paths"]
    (found,) = job["dns_sd_configs"]
    assert (found["names"], found["port"]) == (["service"], PORT)
    assert "service" in SERVICES
    mounted = {volume.split(":")[1] for volume in SERVICES["prometheus"]["volumes"]}
    assert {f"/etc/prometheus/{name}" for name in ["prometheus.yml", *config["rule_files"]]} <= mounted
    assert {"watch"} == set(SERVICES["prometheus"]["networks"]) <= set(SERVICES["service"]["networks"])
    (endpoint,) = yaml.safe_load((KUBERNETES / "monitor.yaml").read_text("utf-8"))["spec"]["endpoints"]
    assert (endpoint["path"], endpoint["port"]) == (job["metrics_path"], "http")


def test_the_board_is_laid_out_and_fed() -> None:
    (source,) = yaml.safe_load((OPERATIONS / "grafana/datasources/prometheus.yml").read_text("utf-8"))[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in SERVICES
    (provider,) = yaml.safe_load((OPERATIONS / "grafana/dashboards/provider.yml").read_text("utf-8"))[
        "providers"
    ]
    assert "./serving/operations/grafana:/etc/grafana/provisioning:ro" in SERVICES["grafana"]["volumes"]
    assert provider["options"]["path"] == "/etc/grafana/provisioning/dashboards"
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["datasource"]["uid"] == source["uid"]
