"""Is every metric of an alert or panel documented, and does every alert have a runbook and fire when it should?"""

import json
import os
import re
import subprocess
from typing import Any

import yaml

from local.config import PROJECT
from tests import tools

MONITORING = PROJECT / "ops" / "monitoring"
ALERTS: list[dict[str, Any]] = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((MONITORING / "grafana" / "dashboards" / "listing-images.json").read_text())
SUFFIXES = re.compile(r"_(bucket|count|sum)$")


def documented() -> set[str]:
    return set(re.findall(r"^\| `(listing_images_\w+)`", (PROJECT / "docs" / "metrics.md").read_text(), re.MULTILINE))


def named_in(expression: str) -> set[str]:
    found = set(re.findall(r"\blisting_images_\w+", expression))
    return {name if name in documented() else SUFFIXES.sub("", name) for name in found}


def test_every_metric_that_an_alert_names_exists() -> None:
    for alert in ALERTS:
        assert named_in(alert["expr"]) <= documented(), alert["alert"]


def test_every_metric_that_a_panel_names_exists() -> None:
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    for panel in panels:
        for target in panel["targets"]:
            assert named_in(target["expr"]) <= documented(), panel["title"]
            assert named_in(target["expr"]) or "up{" in target["expr"], panel["title"]


def test_every_alert_has_a_section_of_the_runbook() -> None:
    sections = re.findall(r"^## (\w+)$", (PROJECT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert sections == [alert["alert"] for alert in ALERTS]


def test_the_alerts_fire_when_they_should() -> None:
    promtool = tools.debian("promtool", "prometheus")
    done = subprocess.run(
        [promtool.path, "test", "rules", "alerts.test.yml"], cwd=MONITORING, env={**os.environ, **promtool.env},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_on_a_good_and_on_a_bad_day() -> None:
    good, bad = yaml.safe_load((MONITORING / "alerts.test.yml").read_text())["tests"]
    names = {alert["alert"] for alert in ALERTS}
    assert {alert["alertname"] for alert in good["alert_rule_test"]} == names
    (expected,) = bad["promql_expr_test"]
    assert {re.findall(r'"(\w+)"', sample["labels"])[0] for sample in expected["exp_samples"]} == names
