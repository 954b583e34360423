"""What an operator may set: one frozen class, read from environment variables that begin with PERCEPT_."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from app.errors import ConfigurationError

PREFIX = "PERCEPT_"
READ_ELSEWHERE = {"PERCEPT_DATA"}  # by training
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
MAX_DELAY_MS = 1_000.0
MAX_RELOAD_SECONDS = 86_400.0
# Requests that are under way get so long to end when the server is told to stop.
GRACE_SECONDS = 10
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
PROVIDER_CHOICES = ("auto", "cpu", "cuda")
MAX_RATE = 1_000_000.0
# Without a path: what a browser says in `Origin`.
ORIGIN = re.compile(r"\*|https?://[^/\s*]+")
PROXIES = "addresses and networks like 127.0.0.1,10.0.0.0/8 with commas between; not all there are (*, /0)"


@dataclass(frozen=True)
class Settings:
    artifacts: Path = field(
        default=Path(__file__).resolve().parent.parent / "artifacts",
        metadata={"help": "Folder of the models: `<model>/<version>/model.onnx`."},
    )
    providers: str = field(
        default="auto", metadata={"help": "Where models run: `auto` (CUDA if there is any), `cpu` or `cuda`."}
    )
    host: str = field(default="127.0.0.1", metadata={"help": "Address that `percept serve` listens on."})
    port: int = field(default=8000, metadata={"help": "Port that `percept serve` listens on."})
    max_body_bytes: int = field(default=20_000_000, metadata={"help": "Largest request body."})
    max_arriving_bytes: int = field(
        default=200_000_000,
        metadata={
            "help": "Bodies that one worker may be receiving, all together, but for the first 64 KiB of each; what "
            "comes beyond gets a 429."
        },
    )
    max_connections: int = field(
        default=4_096,
        metadata={
            "help": "Connections that one worker holds; who comes beyond gets a 429. Each may bring 64 KiB of headers "
            "and 64 KiB of a body that nothing else counts."
        },
    )
    max_files: int = field(default=64, metadata={"help": "Most files in one request."})
    workers: int = field(
        default=0, metadata={"help": "Processes that answer; 0 stands for as many as there are cores."}
    )
    reload_seconds: float = field(
        default=1.0,
        metadata={"help": "How often the folder of the models is looked at for new and removed versions; 0: never."},
    )
    model_control: bool = field(
        default=False,
        metadata={"help": "Whether callers may load and unload models (`POST /v2/repository/…`): `true` or `false`."},
    )
    access_log: bool = field(
        default=False, metadata={"help": "Whether every request is a line in the log: `true` or `false`."}
    )
    tracing: bool = field(
        default=False,
        metadata={"help": "Whether every request is a trace for OpenTelemetry (section Tracing): `true` or `false`."},
    )
    max_queue: int = field(
        default=128,
        metadata={
            "help": "Most requests that may be under way in one worker; further ones get a 429. A few keep what is "
            "served quick under overload."
        },
    )
    max_wait_ms: float = field(
        default=250.0,
        metadata={"help": "Work under way, in expected milliseconds, from which on a worker refuses more with a 429."},
    )
    max_batch: int = field(default=64, metadata={"help": "Most rows that are run together."})
    max_delay_ms: float = field(
        default=0.0,
        metadata={"help": "How long a row may wait for others to be run with it; 0 batches only while busy."},
    )
    max_pixels: int = field(
        default=64_000_000,
        metadata={"help": "Most pixels in all pictures of a request, counted before they are decoded."},
    )

    max_rows: int = field(
        default=10_000,
        metadata={
            "help": "Most rows or texts in one request; tensors of numbers under `/v2` are bounded by the body alone."
        },
    )
    max_characters: int = field(
        default=1_000_000,
        metadata={"help": "Most characters in one text; taking one apart needs about 24 bytes for each."},
    )

    keys: str = field(
        default="",
        metadata={"help": "File of the API keys that may ask (section Security); empty: whoever reaches the port may."},
    )
    rate_limit: float = field(
        default=0.0,
        metadata={"help": "Requests in a second that a key, or an address without one, may send; 0: any number."},
    )
    rate_burst: int = field(
        default=100, metadata={"help": "How many of them may come at once, after a while without any."}
    )
    trusted_proxies: str = field(
        default="127.0.0.1,::1",
        metadata={
            "help": "Proxies that may say for whom they ask (`X-Forwarded-For`, section Security): addresses and "
            "networks, `127.0.0.1,10.0.0.0/8`, or `none`."
        },
    )
    cors_origins: str = field(
        default="",
        metadata={
            "help": "Pages of which other addresses may ask from a browser: `https://a.example,https://b.example`, "
            "or `*`; empty: those of this service."
        },
    )

    def __post_init__(self) -> None:
        if self.providers not in PROVIDER_CHOICES:
            raise _invalid("providers", self.providers, ", ".join(PROVIDER_CHOICES))
        if not 0 <= self.port <= 65_535:
            raise _invalid("port", self.port, "0 to 65535")
        for name in (
            "max_body_bytes",
            "max_connections",
            "max_files",
            "max_pixels",
            "max_rows",
            "max_characters",
            "max_queue",
            "max_batch",
            "rate_burst",
        ):
            if getattr(self, name) < 1:
                raise _invalid(name, getattr(self, name), "1 and more")
        if self.max_arriving_bytes < self.max_body_bytes:
            largest = f"{self.max_body_bytes} and more (PERCEPT_MAX_BODY_BYTES)"
            raise _invalid("max_arriving_bytes", self.max_arriving_bytes, largest)
        if not 0 <= self.reload_seconds <= MAX_RELOAD_SECONDS:
            raise _invalid("reload_seconds", self.reload_seconds, f"0 to {MAX_RELOAD_SECONDS:g}")
        if self.workers < 0:
            raise _invalid("workers", self.workers, "0 and more")
        if not 0 <= self.rate_limit <= MAX_RATE:
            raise _invalid("rate_limit", self.rate_limit, f"0 to {MAX_RATE:g}")
        for origin in self.origins:
            if not ORIGIN.fullmatch(origin):
                raise _invalid("cors_origins", origin, "'*', or addresses like https://a.example with commas between")
        for proxy in self.proxies:
            if not _is_few(proxy):
                raise _invalid("trusted_proxies", proxy, PROXIES)
        if not self.max_wait_ms > 0:
            raise _invalid("max_wait_ms", self.max_wait_ms, "more than 0")
        if not 0 <= self.max_delay_ms <= MAX_DELAY_MS:
            raise _invalid("max_delay_ms", self.max_delay_ms, f"0 to {MAX_DELAY_MS:g}")

    @property
    def origins(self) -> tuple[str, ...]:
        return _divided(self.cors_origins)

    @property
    def proxies(self) -> tuple[str, ...]:
        return () if self.trusted_proxies.strip() == "none" else _divided(self.trusted_proxies)


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """An empty variable is as good as none. Raises ConfigurationError naming the variable, its value and what is
    allowed, also for a PERCEPT_ variable that nobody reads."""
    known = {variable(setting.name) for setting in fields(Settings)}
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known | READ_ELSEWHERE)
    if unknown:
        raise ConfigurationError(f"{unknown[0]} is no setting; there are {', '.join(sorted(known))}")
    values: dict[str, Any] = {}
    for setting in fields(Settings):
        text = environment.get(variable(setting.name))
        if text:
            values[setting.name] = _parse(setting.name, type(setting.default), text)
    return Settings(**values)


def cores() -> int:
    """Those that this process may use: by its affinity, and by a container's share of processor time."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return max(1, min(allowed, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return allowed


def worker_count(settings: Settings) -> int:
    return settings.workers or cores()


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def _parse(name: str, kind: type, text: str) -> Any:
    if kind is bool:
        if text not in BOOLEANS:
            raise _invalid(name, text, ", ".join(BOOLEANS))
        return BOOLEANS[text]
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise _invalid(name, text, "a whole number" if kind is int else "a number") from None
    return text if kind is str else Path(text)


def _divided(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _is_few(proxy: str) -> bool:
    """Where everybody is trusted, the first name in `X-Forwarded-For` would count, which the caller has written: who
    asks could choose who he is."""
    try:
        return ipaddress.ip_network(proxy).prefixlen > 0
    except ValueError:
        return False


def _invalid(name: str, value: object, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"{variable(name)}={value}: allowed is {allowed}")
