"""The plan of the house, enforced: who imports whom, what a module may be called, what an import may do."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_python

MODULES = sorted(path for room in ("app", "training", "on_ray") for path in ROOT.glob(f"{room}/**/*.py"))
# What stands higher may import what stands lower, never the other way round.
FLOORS = [
    {"card", "errors", "events", "logs", "morphology"},
    {"settings", "metrics", "ink", "keys", "rates"},
    {"shared", "runtime", "objects", "geometry"},
    {"profile", "images", "png", "rows", "uploads", "envelope", "tracing", "head", "problems", "exposition"}
    | {"encodings", "tensors", "onnx_graph", "occlusion", "feature_maps", "words"},
    {"open_inference", "lab", "photographs", "guard"},
    {"model"},
    {"kept"},
    {"gradient_saliency"},
    {"store", "scheduler", "inside", "perturbation"},
    {"pictures", "layer_summary", "graph_drawing"},
    {"prediction", "catalogue", "repository", "statistics"},
    {"membership", "sheets"},
    {"service"},
    {"computation", "protocol"},
    {"explanation_cost"},
    {"explanation_request"},
    {"explanation_answer"},
    {"fit", "convolve", "explanation", "model_graph"},
    {"table", "openapi"},
    {"documentation"},
    {"routes"},
    {"request_heads", "backpressure", "raw_response"},
    {"main", "supervisor", "connection"},
    {"worker"},
    {"server"},
    {"cli"},
]
# Pure, so that what is trained is made to fit as what is served: both halves import these, and what they rest on.
SHARED = {"card", "errors", "morphology", "ink", "objects", "geometry", "images", "photographs"}
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module: str) -> str | None:
    """`app.routes.predict` → `routes`."""
    parts = module.split(".")
    return parts[1] if parts[0] == "app" and len(parts) > 1 and parts[1] in FLOOR else None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_opens_with_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_no_module_is_called_by_a_name_that_says_nothing() -> None:
    assert not {path.stem for path in MODULES} & {"utils", "helpers", "common", "manager", "base", "misc"}


@pytest.mark.parametrize("name", ["GoOn", "Floats"])
def test_types_that_many_share_are_defined_once(name: str) -> None:
    definitions = [path for path in ROOT.glob("app/**/*.py") if re.search(f"^{name} =", path.read_text("utf-8"), re.M)]

    assert len(definitions) == 1


def test_imports_go_downwards() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in ROOT.glob("app/**/*.py")
        if (own := path.relative_to(ROOT / "app").parts[0].removesuffix(".py")) != "__init__"
        for module in imports(path)
        if (other := room(module)) and other != own and FLOOR[other] >= FLOOR[own]
    ]

    assert wrong == []


def test_the_service_knows_no_training_and_training_only_what_is_pure() -> None:
    app = {module for path in ROOT.glob("app/**/*.py") for module in imports(path)}
    training = {module for path in ROOT.glob("training/**/*.py") for module in imports(path)}

    assert not {module for module in app if module.split(".")[0] in {"torch", "training", "onnx", "sklearn"}}
    assert not {module.split(".")[0] for module in (*app, *training)} & {"ray", "pyarrow", "pandas", "on_ray"}
    assert {module.split(".")[1] for module in training if module.startswith("app.")} <= SHARED
    assert "app" not in training


def test_what_runs_on_ray_knows_no_training_and_downwards_only() -> None:
    """Beside what is named here a file knows the service, and none of its siblings."""
    siblings = {
        "__init__": set(),
        "inputs": set(),
        "outputs": {"inputs"},
        "scoring": {"inputs"},
        "progress": {"outputs"},
        "task": {"inputs", "outputs", "scoring"},
        "batch": {"inputs", "outputs", "scoring", "task"},
        "__main__": {"batch", "progress"},
        "serve": set(),
    }
    known = {path.stem: set(imports(path)) for path in ROOT.glob("on_ray/**/*.py")}

    assert not {module for each in known.values() for module in each} & {"torch", "training"}
    assert {
        name: {module.split(".")[1] for module in each if module.startswith("on_ray.")} for name, each in known.items()
    } == siblings
    with_ray = {name for name, each in known.items() if {module.split(".")[0] for module in each} & {"ray"}}
    assert with_ray == {"task", "batch", "serve"}


def test_what_both_halves_share_rests_on_nothing_else_of_the_service() -> None:
    beneath = {module for name in SHARED for module in imports(ROOT / "app" / f"{name}.py")}

    assert {module.split(".")[1] for module in beneath if module.startswith("app.")} <= SHARED
    assert {module.split(".")[0] for module in beneath} <= {"app", "numpy", "PIL", "pydantic", *sys.stdlib_module_names}


def test_routes_import_neither_numpy_nor_onnxruntime() -> None:
    routes = {module for path in ROOT.glob("app/routes/*.py") for module in imports(path)}

    assert not {module for module in routes if module.split(".")[0] in {"numpy", "onnxruntime", "PIL"}}


def test_importing_the_service_does_not_import_torch() -> None:
    loaded = run_python("import sys, app.main, app.cli, app.worker; print(*sorted(sys.modules))").split()

    assert "onnxruntime" in loaded
    assert not {"torch", "training", "onnx", "matplotlib", "sklearn"} & set(loaded)


def test_the_supervisor_holds_nothing_that_only_workers_need() -> None:
    loaded = set(run_python("import sys, app.cli, app.server; print(*sorted(sys.modules))").split())

    assert "app.supervisor" in loaded
    assert not {"onnxruntime", "numpy", "PIL", "fastapi", "pydantic", "uvicorn", "asyncio", "orjson"} & loaded


def test_importing_the_service_configures_no_logging_and_switches_telemetry_off() -> None:
    seen = run_python(
        "import logging, os, sys\n"
        "import app\n"
        "print('onnxruntime' in sys.modules, os.environ['ORT_DISABLE_TELEMETRY'])\n"
        "import app.main\n"
        "print(logging.root.handlers)"
    )

    assert seen == "False 1\n[]\n"


def test_every_dependency_is_constrained() -> None:
    """So that two installs a month apart agree; `make lock` brings constraints.txt up to date."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        wanted += extra
    constrained = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M)

    assert {re.split(r"[^\w-]", requirement)[0] for requirement in wanted} <= set(constrained)
