"""An image's folders are found below the one that stands for its root, and what is started there can write nowhere."""

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks import dockerfile
from benchmarks.image import Image, confinement
from tests.conftest import ROOT

IMAGE = Image(Path("/tmp/root"), dockerfile.parse((ROOT / "Dockerfile").read_text(encoding="utf-8")), "cpu")


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("/opt/percept/bin/python -m compileall /opt/percept/lib", "/tmp/root/opt/percept/bin/python -m compileall "),
        ("-x '/test' /usr/local/lib", "-x '/test' /tmp/root/usr/local/lib"),
        ("/usr/bin/find deploy/build", "/usr/bin/find deploy/build"),
        ("/build/wheels/*.whl", "/tmp/root/build/wheels/*.whl"),
    ],
)
def test_folders_of_the_image_are_ours_and_others_the_machines(there: str, here: str) -> None:
    assert IMAGE.here(there).startswith(here)


def test_environment_is_the_images_with_a_port_of_this_machine() -> None:
    environment = IMAGE.environment(1234)

    assert environment["PATH"] == "/tmp/root/opt/percept/bin:/usr/bin:/bin"
    assert environment["PERCEPT_ARTIFACTS"] == "/tmp/root/srv/percept/artifacts"
    assert environment["PERCEPT_PORT"] == "1234"
    assert not environment.keys() & {"HOME", "PYTHONPATH", "PERCEPT_DATA"}


def test_confined_command_can_write_nowhere() -> None:
    before = confinement(10001, 10001)
    if not before:
        pytest.skip("this machine allows no namespaces: unshare is missing or forbidden")
    attempt = 'for place in / /tmp /var/tmp /dev/shm; do touch "$place/percept-probe" && echo wrote; done; id -u'
    done = subprocess.run([*before, "/bin/sh", "-c", attempt], capture_output=True, text=True, cwd="/", check=False)

    assert done.stdout == ("10001\n" if os.getuid() == 0 else "0\n")
