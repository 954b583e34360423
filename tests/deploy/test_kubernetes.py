"""The manifests are what Kubernetes' own schemas allow, in the oldest version that they need and the newest; KServe's
have the fields of its Python package. What has to agree with the service and with the image does."""

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from fastapi.testclient import TestClient

from app.errors import ConfigurationError
from app.settings import GRACE_SECONDS, read_settings
from benchmarks import dockerfile
from tests.conftest import ROOT

MANIFESTS = ROOT / "deploy" / "kubernetes"
KSERVE = ROOT / "deploy" / "kserve"
FILES = sorted(path.name for path in MANIFESTS.glob("*.yaml") if path.name != "kustomization.yaml")
# The first with preStop's `sleep` switched on, and the newest that the schemas know.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
STAGES = dockerfile.parse((ROOT / "Dockerfile").read_text(encoding="utf-8"))
PORT = int(dockerfile.environment(STAGES, "cpu")["PERCEPT_PORT"])
USER, GROUP = dockerfile.user(STAGES, "cpu")
FIELDS = json.loads((Path(__file__).parent / "kserve_fields.json").read_text(encoding="utf-8"))
PLAIN = {"str": str, "int": int, "bool": bool, "list[str]": list, "dict(str, str)": dict}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


DEPLOYMENT = read(MANIFESTS / "deployment.yaml")
POD = DEPLOYMENT["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]
LABELS = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
RUNTIME = read(KSERVE / "serving-runtime.yaml")
[SERVER] = RUNTIME["spec"]["containers"]
INFERENCE = read(KSERVE / "inference-service.yaml")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", FILES)
def test_manifest_keeps_to_the_schema(file: str, version: str) -> None:
    """Strictly: a field that is not known is an error."""
    kubernetes_validate.validate(read(MANIFESTS / file), version, strict=True)


def test_schema_would_have_noticed() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        wrong = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replica": 2}}
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_kustomization_names_each_file_but_the_other_autoscaler() -> None:
    kustomization = read(MANIFESTS / "kustomization.yaml")
    [image] = kustomization["images"]

    assert sorted([*kustomization["resources"], "autoscaler-by-queue.yaml"]) == FILES
    assert set(kustomization) == {"apiVersion", "kind", "namespace", "resources", "images"}
    assert image["name"] == CONTAINER["image"]
    assert f"{image['newName']}:{image['newTag']}" == SERVER["image"]
    assert read(MANIFESTS / "namespace.yaml")["metadata"]["name"] == kustomization["namespace"]


def test_all_speak_of_the_same_pods() -> None:
    spread = POD["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]
    selectors = [
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        read(MANIFESTS / "service.yaml")["spec"]["selector"],
        read(MANIFESTS / "disruption-budget.yaml")["spec"]["selector"]["matchLabels"],
        read(MANIFESTS / "network-policy.yaml")["spec"]["podSelector"]["matchLabels"],
    ]
    targets = [
        read(MANIFESTS / name)["spec"]["scaleTargetRef"] for name in ("autoscaler.yaml", "autoscaler-by-queue.yaml")
    ]

    assert [*selectors, spread] == [LABELS] * 5
    assert targets == [{"apiVersion": "apps/v1", "kind": "Deployment", "name": DEPLOYMENT["metadata"]["name"]}] * 2
    assert "replicas" not in DEPLOYMENT["spec"]


def test_ports_are_the_images() -> None:
    [port] = CONTAINER["ports"]
    [service] = read(MANIFESTS / "service.yaml")["spec"]["ports"]
    [ingress] = read(MANIFESTS / "network-policy.yaml")["spec"]["ingress"]

    assert port["containerPort"] == PORT
    assert service["targetPort"] == port["name"]
    assert ingress["ports"] == [{"protocol": "TCP", "port": port["name"]}]
    assert SERVER["ports"] == [{"containerPort": PORT, "protocol": "TCP"}]


def test_nothing_goes_out() -> None:
    policy = read(MANIFESTS / "network-policy.yaml")["spec"]

    assert (policy["policyTypes"], policy["egress"]) == (["Ingress", "Egress"], [])


def test_pods_have_no_rights() -> None:
    pod, own = POD["securityContext"], CONTAINER["securityContext"]
    nothing = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}

    assert (pod["runAsUser"], pod["runAsGroup"], pod["runAsNonRoot"]) == (USER, GROUP, True)
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == nothing
    assert SERVER["securityContext"] == own | pod
    assert (
        POD["automountServiceAccountToken"] is INFERENCE["spec"]["predictor"]["automountServiceAccountToken"] is False
    )
    assert "volumes" not in POD


def test_pod_is_given_longer_to_end_than_it_takes() -> None:
    """The supervisor insists two seconds after its workers' grace is over."""
    wait = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert POD["terminationGracePeriodSeconds"] > wait + GRACE_SECONDS + 2
    assert INFERENCE["spec"]["predictor"]["terminationGracePeriodSeconds"] > GRACE_SECONDS + 2


def test_workers_follow_the_processors() -> None:
    limits = {
        "name": "PERCEPT_WORKERS",
        "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}},
    }

    assert CONTAINER["env"] == SERVER["env"] == [limits]
    assert int(CONTAINER["resources"]["limits"]["cpu"]) >= 1
    assert SERVER["resources"] == CONTAINER["resources"]


@pytest.mark.parametrize(
    "variable",
    [
        {"PERCEPT_SERVICE_HOST": "10.0.0.1"},
        {"PERCEPT_PORT": "tcp://10.0.0.1:80"},
        {"PERCEPT_PREDICTOR_SERVICE_HOST": "10.0.0.1"},
    ],
    ids=lambda variable: next(iter(variable)),
)
def test_kubernetes_variables_for_services_are_kept_away(variable: dict[str, str]) -> None:
    """They would end the start, and one of them is a setting's name."""
    with pytest.raises(ConfigurationError):
        read_settings(variable)

    assert POD["enableServiceLinks"] is INFERENCE["spec"]["predictor"]["enableServiceLinks"] is False


@pytest.mark.parametrize("container", [CONTAINER, SERVER], ids=["deployment", "kserve"])
def test_probes_ask_what_there_is(client: TestClient, container: dict[str, Any]) -> None:
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container[name]
        assert client.get(probe["httpGet"]["path"]).status_code == 200
        assert probe["httpGet"]["port"] in (PORT, "http")
        assert probe["timeoutSeconds"] <= probe["periodSeconds"] + 1
        assert probe["httpGet"]["path"].endswith("/live" if name == "livenessProbe" else "/ready")
    annotations = DEPLOYMENT["spec"]["template"]["metadata"]["annotations"]
    assert client.get(annotations["prometheus.io/path"]).status_code == 200
    assert client.get(RUNTIME["spec"]["annotations"]["prometheus.kserve.io/path"]).status_code == 200


def test_queue_autoscaler_asks_for_a_metric_that_is_exposed(client: TestClient) -> None:
    [metric] = read(MANIFESTS / "autoscaler-by-queue.yaml")["spec"]["metrics"]

    assert f"\n{metric['pods']['metric']['name']} " in client.get("/metrics").text


# KServe.


def assert_fields(kind: str, found: dict[str, Any]) -> None:
    fields, required = FIELDS[kind]["fields"], FIELDS[kind]["required"]
    assert found.keys() <= fields.keys(), kind
    assert set(required) <= found.keys(), kind
    for name, value in found.items():
        assert isinstance(value, PLAIN.get(fields[name], object)), name


def test_kserve_has_the_fields_that_are_set() -> None:
    """The custom resources' schemas are in no package; fields and types are those of KServe's own Python package, which
    is made from the same definitions."""
    predictor = INFERENCE["spec"]["predictor"]
    assert (RUNTIME["apiVersion"], RUNTIME["kind"]) == ("serving.kserve.io/v1alpha1", "ServingRuntime")
    assert (INFERENCE["apiVersion"], INFERENCE["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    for kind, found in (
        ("ServingRuntimeSpec", RUNTIME["spec"]),
        ("InferenceServiceSpec", INFERENCE["spec"]),
        ("PredictorSpec", predictor),
        ("ModelSpec", predictor["model"]),
        ("ModelFormat", predictor["model"]["modelFormat"]),
        *(("SupportedModelFormat", format) for format in RUNTIME["spec"]["supportedModelFormats"]),
    ):
        assert_fields(kind, found)


@pytest.mark.parametrize("version", VERSIONS)
def test_kserve_starts_a_container_that_kubernetes_takes(version: str) -> None:
    keys = ("enableServiceLinks", "automountServiceAccountToken", "terminationGracePeriodSeconds")
    spec = {key: INFERENCE["spec"]["predictor"][key] for key in keys}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "percept"}, "spec": spec | {"containers": [SERVER]}}

    kubernetes_validate.validate(pod, version, strict=True)


def test_inference_service_finds_its_runtime(client: TestClient) -> None:
    """Of the names, KServe asks that the container be called so; protocol and format have to be among the runtime's."""
    model = INFERENCE["spec"]["predictor"]["model"]

    assert SERVER["name"] == "kserve-container"
    assert model["runtime"] == RUNTIME["metadata"]["name"]
    assert model["protocolVersion"] in RUNTIME["spec"]["protocolVersions"]
    assert model["modelFormat"].items() <= RUNTIME["spec"]["supportedModelFormats"][0].items()
    assert INFERENCE["spec"]["predictor"]["scaleMetric"] in ("cpu", "memory", "concurrency", "rps")
    # What the protocol's clients ask first.
    assert client.get("/v2/models/digits/ready").status_code == 200
