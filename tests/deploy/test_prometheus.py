"""Prometheus itself: reads our configuration, asks a service that runs, answers what the dashboard wants to know, and
fires the alerts when it should."""

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.keys import line_of, new_key
from tests.conftest import ROOT
from tests.deploy.test_dashboard import EXPRESSIONS, PANELS, RULES
from tests.served import PATIENCE, Server, free_port

FOLDER = ROOT / "deploy" / "prometheus"
# Debian's package brings both.
MISSING = "Prometheus is not here: apt-get install prometheus"


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip(MISSING)
    return found


def configured(file: str, folder: Path, port: int, key: Path) -> Path:
    """Ours, with this machine's addresses and files in the place of the container's, and asked every second."""
    text = (FOLDER / file).read_text(encoding="utf-8")
    for theirs, here in {
        "percept:8000": f"127.0.0.1:{port}",
        "/etc/prometheus": str(FOLDER),
        "/run/secrets/prometheus-key": str(key),
        "scrape_interval: 5s": "scrape_interval: 1s",
        "evaluation_interval: 15s": "evaluation_interval: 1s",
    }.items():
        text = text.replace(theirs, here)
    path = folder / file
    path.write_text(text)
    return path


@contextmanager
def prometheus(config: Path, folder: Path) -> Iterator["Asked"]:
    binary, port = shutil.which("prometheus"), free_port()
    if binary is None:
        pytest.skip(MISSING)
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield Asked(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(PATIENCE)


class Asked:
    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        """The data of an answer; None while there is none."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=PATIENCE) as response:
                told = json.load(response)
        except OSError:
            return None
        assert told["status"] == "success"
        return told["data"]

    def values(self, expression: str) -> list[float]:
        data = self.get(f"query?{urllib.parse.urlencode({'query': expression})}")
        return [float(each["value"][1]) for each in data["result"]] if data else []

    def until(self, expression: str, wanted: float) -> None:
        deadline = time.monotonic() + PATIENCE
        while (values := self.values(expression)) != [wanted]:
            assert time.monotonic() < deadline, values
            time.sleep(0.2)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Of a service that was asked for some digits."""
    folder = tmp_path_factory.mktemp("prometheus")
    server = Server(folder / "log", PERCEPT_WORKERS="1")
    try:
        with prometheus(configured("prometheus.yml", folder, server.port, folder), folder) as asked:
            asked.until("up", 1)
            server.predict()
            asked.until('percept_predictions_total{model="digits-net"}', 1)
            for _ in range(20):
                server.predict()
            asked.until('percept_predictions_total{model="digits-net"}', 21)
            yield asked
    finally:
        server.stop()


@pytest.mark.parametrize("file", ["prometheus.yml", "prometheus-keys.yml"])
def test_configuration_is_what_prometheus_wants(promtool: str, file: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    config = configured(file, tmp_path, 8000, tmp_path / "key")
    done = subprocess.run([promtool, "check", "config", config], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "4 rules found" in done.stdout


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expression_is_answered(asked: Asked, name: str) -> None:
    assert asked.get(f"query?{urllib.parse.urlencode({'query': EXPRESSIONS[name]})}") is not None


def test_dashboard_shows_what_was_asked(asked: Asked) -> None:
    shown = {name: asked.values(EXPRESSIONS[name]) for name in EXPRESSIONS if name.partition(":")[0] in PANELS}
    empty = {name for name, values in shown.items() if not values}

    # Nothing was refused, and on the processor there is nothing to reload.
    assert empty <= {name for name in shown if "rejections" in EXPRESSIONS[name]}
    assert asked.values("sum(increase(percept_predictions_total[1m]))")[0] > 10


def test_alerts_are_there_and_silent(asked: Asked) -> None:
    [group] = asked.get("rules")["groups"]

    assert [rule["name"] for rule in group["rules"]] == [rule["alert"] for rule in RULES["groups"][0]["rules"]]
    assert {rule["state"] for rule in group["rules"]} == {"inactive"}


def test_with_keys_prometheus_has_one(tmp_path: Path) -> None:
    key, file = new_key(), tmp_path / "keys"
    file.write_text(line_of("prometheus", ["admin"], key) + "\n")
    (tmp_path / "key").write_text(f"{key}\n")
    server = Server(tmp_path / "log", PERCEPT_WORKERS="1", PERCEPT_KEYS=str(file))
    try:
        config = configured("prometheus-keys.yml", tmp_path, server.port, tmp_path / "key")
        with prometheus(config, tmp_path) as asked:
            asked.until("up", 1)
    finally:
        server.stop()


COUNTED = 'instance="a",job="percept"'
OF_MODEL = f'{COUNTED},model="digits-net"'
# Alert → series as promtool writes them, by the minute: one that fires, one that is quiet.
SERIES: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "PerceptIsDown": ({f"up{{{COUNTED}}}": "0x30"}, {f"up{{{COUNTED}}}": "1x30"}),
    "PerceptFails": (
        {f'percept_responses_total{{{COUNTED},status="500"}}': "0+1x30"},
        {f'percept_responses_total{{{COUNTED},status="429"}}': "0+1x30"},
    ),
    "PerceptRefuses": (
        {
            f"percept_predictions_total{{{OF_MODEL}}}": "0+90x30",
            f'percept_rejections_total{{{OF_MODEL},reason="queue_full"}}': "0+10x30",
        },
        {
            f"percept_predictions_total{{{OF_MODEL}}}": "0+97x30",
            f'percept_rejections_total{{{OF_MODEL},reason="queue_full"}}': "0+3x30",
        },
    ),
    "PerceptIsSlow": (
        {
            f'percept_request_seconds_bucket{{{OF_MODEL},le="0.5"}}': "0+90x30",
            f'percept_request_seconds_bucket{{{OF_MODEL},le="1"}}': "0+100x30",
            f'percept_request_seconds_bucket{{{OF_MODEL},le="+Inf"}}': "0+100x30",
        },
        {
            f'percept_request_seconds_bucket{{{OF_MODEL},le="0.5"}}': "0+100x30",
            f'percept_request_seconds_bucket{{{OF_MODEL},le="1"}}': "0+100x30",
            f'percept_request_seconds_bucket{{{OF_MODEL},le="+Inf"}}': "0+100x30",
        },
    ),
}
SUMMARIES = {
    "PerceptIsDown": "a has not answered for a minute.",
    "PerceptFails": "a answers with 500 or 503; the log has the reason under the request's id.",
    "PerceptRefuses": "a refuses 10% of the requests to digits-net.",
    "PerceptIsSlow": "One in a hundred requests to digits-net takes 950ms and more.",
}


@pytest.mark.parametrize("fires", [True, False], ids=["fires", "quiet"])
@pytest.mark.parametrize("alert", SERIES)
def test_alert_fires_when_it_should(promtool: str, alert: str, fires: bool, tmp_path: Path) -> None:
    [rule] = [rule for rule in RULES["groups"][0]["rules"] if rule["alert"] == alert]
    labels = {"instance": "a"} | ({"job": "percept"} if alert == "PerceptIsDown" else {})
    labels |= {"model": "digits-net"} if alert in ("PerceptRefuses", "PerceptIsSlow") else {}
    expected = {"exp_labels": labels | rule["labels"], "exp_annotations": {"summary": SUMMARIES[alert]}}
    series = SERIES[alert][0 if fires else 1]
    test = {
        "rule_files": [str(FOLDER / "alerts.yml")],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [
                    {"eval_time": "25m", "alertname": alert, "exp_alerts": [expected] if fires else []}
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [promtool, "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
