"""The manifests are what Kubernetes' own schemas allow, in the oldest version that they need and the newest; KServe's
have the fields of its Python package. What has to agree with the service and with the image does."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from fastapi.testclient import TestClient

from app.errors import ConfigurationError
from app.keys import line_of, new_key
from app.main import create_app
from app.settings import GRACE_SECONDS, Settings, read_settings
from benchmarks import dockerfile
from tests.conftest import ROOT

MANIFESTS = ROOT / "deploy" / "kubernetes"
WITH_KEYS = ROOT / "deploy" / "kubernetes-keys"
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
    for pod, container in ((POD, CONTAINER), (INFERENCE["spec"]["predictor"], SERVER)):
        wait = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod["terminationGracePeriodSeconds"] > wait + GRACE_SECONDS + 2


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


def test_settings_in_comments_are_settings() -> None:
    for file in (MANIFESTS / "deployment.yaml", KSERVE / "serving-runtime.yaml"):
        [shown] = re.findall("# - ({name: PERCEPT_.*})", file.read_text(encoding="utf-8"))
        variable = yaml.safe_load(shown)
        assert read_settings({variable["name"]: variable["value"]}).proxies == ("10.0.0.0/8",)


# With keys.


def merged(base: Any, patch: Any) -> Any:
    """As kustomize merges: what a list has is known by its name, or by where it is mounted; what is new comes first."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return base | {name: merged(base.get(name), value) for name, value in patch.items()}
    if isinstance(base, list) and isinstance(patch, list):
        before = {each.get("mountPath", each["name"]): each for each in base}
        changed = {each.get("mountPath", each["name"]): each for each in patch}
        new = [each for name, each in changed.items() if name not in before]
        return new + [merged(each, changed[name]) if name in changed else each for name, each in before.items()]
    return patch


def built(folder: Path, tmp_path: Path) -> list[Any]:
    """What kubectl would apply of a folder, in its order; beside it stands a file of keys."""
    kubectl = shutil.which("kubectl")
    version = subprocess.run([kubectl, "version", "--client"], capture_output=True, text=True).stdout if kubectl else ""
    if not re.search(r"Kustomize Version: v([5-9]|\d\d)", version):
        pytest.skip("kubectl is not here, or older than 1.27: the manifests are held against the schemas one by one")
    copied = tmp_path / "deploy"
    shutil.copytree(ROOT / "deploy", copied)
    (copied / WITH_KEYS.name / "keys").write_text("alice predict hash\n")
    command = [kubectl, "kustomize", copied / folder.name]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stderr == ""
    return list(yaml.safe_load_all(told.stdout))


@pytest.mark.parametrize("folder", [MANIFESTS, WITH_KEYS], ids=lambda folder: folder.name)
def test_kubectl_builds_what_the_schemas_allow(folder: Path, tmp_path: Path) -> None:
    resources = built(folder, tmp_path)
    kinds = {resource["kind"]: resource for resource in resources}
    wanted = DEPLOYED_WITH_KEYS if folder == WITH_KEYS else DEPLOYMENT
    [image] = read(MANIFESTS / "kustomization.yaml")["images"]
    for version in VERSIONS:
        for resource in resources:
            kubernetes_validate.validate(resource, version, strict=True)

    assert {each["kind"] for each in map(read, MANIFESTS.glob("*.yaml"))} - {"Kustomization"} == kinds.keys() - {
        "Secret"
    }
    assert len(resources) == len(kinds)
    [container] = kinds["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container.pop("image") == f"{image['newName']}:{image['newTag']}"
    [expected] = wanted["spec"]["template"]["spec"]["containers"]
    assert {name: value for name, value in expected.items() if name != "image"} == container
    assert kinds["Deployment"]["metadata"]["namespace"] == "percept"
    if folder == WITH_KEYS:
        assert base64.b64decode(kinds["Secret"]["data"]["keys"]) == b"alice predict hash\n"


DEPLOYED_WITH_KEYS = merged(DEPLOYMENT, read(WITH_KEYS / "deployment.yaml"))


@pytest.mark.parametrize("version", VERSIONS)
def test_deployment_with_keys_keeps_to_the_schema(version: str) -> None:
    kubernetes_validate.validate(DEPLOYED_WITH_KEYS, version, strict=True)


def test_keys_come_from_the_secret_that_is_made_of_the_file() -> None:
    kustomization = read(WITH_KEYS / "kustomization.yaml")
    [secret] = kustomization["secretGenerator"]
    pod = DEPLOYED_WITH_KEYS["spec"]["template"]["spec"]
    [container], [volume] = pod["containers"], pod["volumes"]
    [mount] = container["volumeMounts"]
    [keys, workers] = container["env"]

    assert set(kustomization) == {"apiVersion", "kind", "namespace", "resources", "secretGenerator", "patches"}
    assert (WITH_KEYS / kustomization["resources"][0]).resolve() == MANIFESTS
    assert kustomization["patches"] == [{"path": "deployment.yaml"}]
    assert secret == {"name": "percept-keys", "files": ["keys"], "options": {"disableNameSuffixHash": True}}
    assert volume == {"name": mount["name"], "secret": {"secretName": secret["name"]}}
    assert mount == {"name": "keys", "mountPath": "/etc/percept", "readOnly": True}
    assert read_settings({keys["name"]: keys["value"]}).keys == f"{mount['mountPath']}/keys"
    assert workers == CONTAINER["env"][0]
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert str((WITH_KEYS / "keys").relative_to(ROOT)) in ignored


def test_with_keys_probes_need_none_and_metrics_the_key_that_prometheus_has(tmp_path: Path) -> None:
    key, file = new_key(), tmp_path / "keys"
    file.write_text(line_of("prometheus", ["admin"], key) + "\n")
    container = DEPLOYED_WITH_KEYS["spec"]["template"]["spec"]["containers"][0]
    probes = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    probes |= {SERVER[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    [job] = read(WITH_KEYS / "scrape.yml")
    with TestClient(create_app(Settings(keys=str(file)))) as client:
        assert {client.get(path).status_code for path in probes} == {200}
        assert client.get(job["metrics_path"]).status_code == 401
        # Prometheus sends what `credentials_file` holds as a Bearer token.
        assert client.get(job["metrics_path"], headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_with_keys_prometheus_is_given_a_job_of_its_own() -> None:
    annotations = DEPLOYED_WITH_KEYS["spec"]["template"]["metadata"]["annotations"]
    namespace = read(WITH_KEYS / "kustomization.yaml")["namespace"]
    [port] = CONTAINER["ports"]
    [job] = read(WITH_KEYS / "scrape.yml")
    keep, *labels = job["relabel_configs"]

    assert annotations["prometheus.io/scrape"] == "false"
    assert set(job) == {"job_name", "metrics_path", "authorization", "kubernetes_sd_configs", "relabel_configs"}
    assert set(job["authorization"]) == {"credentials_file"}
    assert job["kubernetes_sd_configs"] == [{"role": "pod", "namespaces": {"names": [namespace]}}]
    assert keep["regex"] == f"{LABELS['app.kubernetes.io/name']};{port['name']}"
    assert keep["action"] == "keep"
    # By these the rule of the autoscaler finds the series of a pod.
    assert {each["target_label"]: each["source_labels"] for each in labels} == {
        "namespace": ["__meta_kubernetes_namespace"],
        "pod": ["__meta_kubernetes_pod_name"],
    }
    rule = (ROOT / "deploy" / "kubernetes" / "autoscaler-by-queue.yaml").read_text()
    assert '{namespace!="",pod!=""}' in rule


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


def test_kserve_makes_a_deployment_with_kubernetes_autoscaler() -> None:
    """Its admission asks for both annotations before it takes `cpu` or `memory`, then for 1 to 100 percent. Knative
    refuses `terminationGracePeriodSeconds` and `lifecycle`."""
    predictor = INFERENCE["spec"]["predictor"]

    assert INFERENCE["metadata"]["annotations"] == {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/autoscalerClass": "hpa",
    }
    assert predictor["scaleMetric"] in ("cpu", "memory")
    assert 1 <= predictor["scaleTarget"] <= 100
    # A share of what is requested.
    assert predictor["scaleMetric"] in SERVER["resources"]["requests"]
    assert 1 <= predictor["minReplicas"] <= predictor["maxReplicas"]


def test_inference_service_finds_its_runtime(client: TestClient) -> None:
    """Of the names, KServe asks that the container be called so; protocol and format have to be among the runtime's."""
    model = INFERENCE["spec"]["predictor"]["model"]

    assert SERVER["name"] == "kserve-container"
    assert model["runtime"] == RUNTIME["metadata"]["name"]
    assert model["protocolVersion"] in RUNTIME["spec"]["protocolVersions"]
    assert model["modelFormat"].items() <= RUNTIME["spec"]["supportedModelFormats"][0].items()
    # What the protocol's clients ask first.
    assert client.get("/v2/models/digits/ready").status_code == 200
