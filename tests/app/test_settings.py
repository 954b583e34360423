"""Settings come from the environment; what is wrong names the variable, the value and what is allowed."""

from dataclasses import fields
from pathlib import Path

import pytest

from app.errors import ConfigurationError
from app.settings import Settings, cores, read_settings, variable
from tests.conftest import ROOT


def test_without_variables_the_defaults_hold() -> None:
    assert read_settings({}) == Settings()


def test_variables_are_parsed_to_the_type_of_their_field() -> None:
    settings = read_settings({"PERCEPT_ARTIFACTS": "/srv/models", "PERCEPT_PORT": "9000", "PERCEPT_PROVIDERS": "cpu"})

    assert settings == Settings(artifacts=Path("/srv/models"), port=9000, providers="cpu")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PERCEPT_PORT", "http", "PERCEPT_PORT=http: allowed is a whole number"),
        ("PERCEPT_PORT", "70000", "PERCEPT_PORT=70000: allowed is 0 to 65535"),
        ("PERCEPT_PROVIDERS", "tpu", "PERCEPT_PROVIDERS=tpu: allowed is auto, cpu, cuda"),
        ("PERCEPT_MAX_FILES", "0", "PERCEPT_MAX_FILES=0: allowed is 1 and more"),
    ],
)
def test_bad_value_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read_settings({name: value})

    assert error.value.detail == message


@pytest.mark.parametrize(
    ("value", "culprit"),
    [
        ("*", "*"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("10.0.0.0/8, ::/0", "::/0"),
        ("127.0.0.1,10.0.0.1/8", "10.0.0.1/8"),
        ("ingress", "ingress"),
        ("10.0.0.256", "10.0.0.256"),
    ],
)
def test_proxies_are_addresses_or_networks_and_not_everybody(value: str, culprit: str) -> None:
    """What uvicorn cannot read it takes for a name that nobody has, without a word."""
    with pytest.raises(ConfigurationError) as error:
        read_settings({"PERCEPT_TRUSTED_PROXIES": value})

    allowed = "addresses and networks like 127.0.0.1,10.0.0.0/8 with commas between; not all there are (*, /0)"
    assert error.value.detail == f"PERCEPT_TRUSTED_PROXIES={culprit}: allowed is {allowed}"


def test_proxies_are_divided_by_commas() -> None:
    assert Settings().proxies == ("127.0.0.1", "::1")
    assert read_settings({"PERCEPT_TRUSTED_PROXIES": " 10.0.0.0/8 ,fd00::/8,"}).proxies == ("10.0.0.0/8", "fd00::/8")


def test_empty_variable_is_as_good_as_none() -> None:
    assert read_settings({"PERCEPT_ARTIFACTS": "", "PERCEPT_PORT": ""}) == Settings()


def test_misspelt_variable_is_told() -> None:
    with pytest.raises(ConfigurationError, match="PERCEPT_MAX_PIXEL is no setting; there are PERCEPT_ACCESS_LOG, "):
        read_settings({"PERCEPT_MAX_PIXEL": "5", "PERCEPT_DATA": "/data", "PATH": "/bin"})


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
def test_readme_explains_each_setting(setting: object) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert f"| `{variable(setting.name)}` |" in readme  # type: ignore[attr-defined]
    assert setting.metadata["help"] in readme  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("limit", "expected"), [("max 100000", None), ("100000 100000", 1), ("50000 100000", 1), ("nonsense", None)]
)
def test_cores_are_those_that_a_container_has(
    limit: str, expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.settings.CPU_QUOTA", tmp_path / "none")
    allowed = cores()
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr("app.settings.CPU_QUOTA", tmp_path / "cpu.max")

    assert cores() == (expected or allowed)
