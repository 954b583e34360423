"""The compose files keep to the Compose Specification, and what they name is there."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import GRACE_SECONDS, read_settings
from benchmarks import dockerfile
from tests.conftest import ROOT

FILES = ("compose.yaml", "compose.cuda.yaml", "compose.keys.yaml")
STAGES = dockerfile.parse((ROOT / "Dockerfile").read_text(encoding="utf-8"))


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


SERVICES: dict[str, dict[str, Any]] = read("compose.yaml")["services"]


@pytest.mark.parametrize("file", FILES)
def test_file_keeps_to_the_compose_specification(file: str) -> None:
    """The schema is the one that check-jsonschema carries."""
    check = Path(sys.executable).parent / "check-jsonschema"
    done = subprocess.run(
        [check, "--builtin-schema", "vendor.compose-spec", file], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout


def test_schema_would_have_noticed(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {percept: {buidl: .}}\n")
    check = Path(sys.executable).parent / "check-jsonschema"
    done = subprocess.run(
        [check, "--builtin-schema", "vendor.compose-spec", tmp_path / "compose.yaml"], capture_output=True, check=False
    )

    assert done.returncode == 1


@pytest.mark.parametrize("file", ("compose.yaml", "compose.cuda.yaml"))
def test_targets_are_the_dockerfiles(file: str) -> None:
    target = read(file)["services"]["percept"]["build"]["target"]

    assert target in STAGES
    assert read(file)["services"]["percept"]["image"] == f"percept:{target}"


def test_settings_that_are_shown_are_settings() -> None:
    """In comments too."""
    shown = re.findall("# +(PERCEPT_[A-Z_]+): (.+)", (ROOT / "compose.yaml").read_text(encoding="utf-8"))

    assert read_settings(dict(shown)).proxies == ("172.18.0.0/16",)


def test_settings_for_a_gpu_are_settings() -> None:
    settings = read_settings(read("compose.cuda.yaml")["services"]["percept"]["environment"])

    assert (settings.providers, settings.workers) == ("cuda", 1)


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_writes_gains_rights_or_answers_other_machines(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert name == "percept" or service["image"].rpartition(":")[2].strip("v").count(".") == 2


def test_service_is_given_longer_to_stop_than_it_takes() -> None:
    assert int(SERVICES["percept"]["stop_grace_period"].removesuffix("s")) > GRACE_SECONDS + 2


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_there(name: str) -> None:
    volumes = read("compose.yaml")["volumes"]
    for mount in SERVICES[name].get("volumes", ()):
        source, _, rest = mount.partition(":")
        if source.startswith("."):
            assert (ROOT / source).is_dir(), source
            assert rest.endswith(":ro")
        else:
            assert source in volumes


def mounted(service: str, path: str) -> Path:
    """Where a file of the container lies here."""
    for mount in SERVICES[service]["volumes"]:
        source, target, *_ = mount.split(":")
        if source.startswith(".") and path.startswith(target):
            return ROOT / source / path.removeprefix(target).lstrip("/")
    raise AssertionError(path)


def test_prometheus_asks_the_service_where_it_listens() -> None:
    [configuration] = [word.partition("=")[2] for word in SERVICES["prometheus"]["command"] if "config.file" in word]
    document = yaml.safe_load(mounted("prometheus", configuration).read_text(encoding="utf-8"))
    [job] = document["scrape_configs"]
    port = dockerfile.environment(STAGES, "cpu")["PERCEPT_PORT"]

    assert set(document) == {"global", "rule_files", "scrape_configs"}
    assert set(document["global"]) <= {"scrape_interval", "evaluation_interval"}
    assert set(job) == {"job_name", "metrics_path", "static_configs"}
    assert job["static_configs"] == [{"targets": [f"percept:{port}"]}]
    assert SERVICES["percept"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert all(mounted("prometheus", file).is_file() for file in document["rule_files"])


def test_with_keys_prometheus_has_one_and_asks_as_before() -> None:
    with_keys = read("compose.keys.yaml")
    prometheus, secret = with_keys["services"]["prometheus"], "prometheus-key"
    configuration = [word.replace("-keys.yml", ".yml") for word in prometheus["command"]]
    document, usual = read("deploy/prometheus/prometheus-keys.yml"), read("deploy/prometheus/prometheus.yml")
    authorization = document["scrape_configs"][0].pop("authorization")

    assert configuration == SERVICES["prometheus"]["command"] != prometheus["command"]
    assert mounted("prometheus", "/etc/prometheus/prometheus-keys.yml").is_file()
    assert document == usual
    # Compose puts a secret there, and Prometheus sends it as a Bearer token unless told otherwise.
    assert authorization == {"credentials_file": f"/run/secrets/{secret}"}
    assert prometheus["secrets"] == list(with_keys["secrets"]) == [secret]


def test_keys_are_where_the_service_looks_and_git_does_not() -> None:
    with_keys = read("compose.keys.yaml")
    service = with_keys["services"]["percept"]
    [mount] = service["volumes"]
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()

    assert read_settings(service["environment"]).keys == f"{mount['target']}/keys"
    assert mount["read_only"] is True
    # Without the folder nothing starts, instead of a service that finds an empty one.
    assert mount["bind"] == {"create_host_path": False}
    assert {f"{mount['source'][2:]}/", with_keys["secrets"]["prometheus-key"]["file"][2:]} <= set(ignored)


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    [source] = read("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    [provider] = read("deploy/grafana/provisioning/dashboards/percept.yml")["providers"]
    home = mounted("grafana", SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    dashboard = json.loads(home.read_text(encoding="utf-8"))
    asked = [target["datasource"]["uid"] for panel in dashboard["panels"] for target in panel["targets"]]

    assert source["url"] == "http://prometheus:9090"
    assert set(asked) == {source["uid"]}
    assert mounted("grafana", provider["options"]["path"]) == home.parent
