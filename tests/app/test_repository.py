"""The store follows the folder and the wishes of callers, and what is served goes on being served."""

import asyncio
import errno
import gc
import os
import shutil
import time
import weakref
from collections.abc import Coroutine
from pathlib import Path

import pytest

from app.errors import InvalidRequest, NotFound, NotReady
from app.model import Model
from app.repository import Repository, Wishes
from app.runtime import CPU
from tests.conftest import run_python
from tests.onnx_models import write_brightness, write_large


def opened(folder: Path, wishes: Wishes | None = None, slot: int = 0) -> Repository:
    repository = Repository(folder, [CPU], wishes, slot)
    repository.open()
    return repository


def versions(repository: Repository) -> dict[str, list[int]]:
    return {name: sorted(versions) for name, versions in repository.store.models.items()}


def refresh(repository: Repository, hasten: bool = False) -> None:
    asyncio.run(repository.refresh(hasten))


def test_new_version_is_loaded_when_its_file_has_settled(tmp_path: Path) -> None:
    write_brightness(tmp_path)
    repository = opened(tmp_path)
    write_brightness(tmp_path, version=2)

    refresh(repository)
    assert versions(repository) == {"brightness": [1]}
    refresh(repository)
    assert versions(repository) == {"brightness": [1, 2]}
    assert repository.store.find("brightness").version == 2


def test_file_that_is_still_being_written_is_waited_for(tmp_path: Path) -> None:
    write_brightness(tmp_path / "elsewhere")
    whole = (tmp_path / "elsewhere/brightness/1/model.onnx").read_bytes()
    folder = tmp_path / "artifacts"
    write_brightness(folder)
    repository = opened(folder)
    (folder / "brightness/2").mkdir()
    file = folder / "brightness/2/model.onnx"
    for length in (10, 100, len(whole)):
        file.write_bytes(whole[:length])
        refresh(repository)
        assert (versions(repository), repository.store.refused) == ({"brightness": [1]}, ())

    refresh(repository)
    assert versions(repository) == {"brightness": [1, 2]}


def test_nothing_new_leaves_the_store_as_it_is(tmp_path: Path) -> None:
    write_brightness(tmp_path)
    repository = opened(tmp_path)
    before = repository.store
    refresh(repository)

    assert repository.store is before


def test_bad_version_is_refused_with_its_reason_and_the_old_one_goes_on(tmp_path: Path) -> None:
    write_brightness(tmp_path)
    repository = opened(tmp_path)
    (tmp_path / "brightness/2").mkdir()
    (tmp_path / "brightness/2/model.onnx").write_bytes(b"no graph")
    refresh(repository, hasten=True)

    assert repository.store.find("brightness").version == 1
    [refused] = repository.store.refused
    assert (refused.model, refused.version, refused.late) == ("brightness", "2", True)
    assert refused.reason.startswith("onnxruntime cannot load it")
    assert repository.store.waited_for == ()


def test_version_that_is_overwritten_by_a_bad_one_goes_on(tmp_path: Path) -> None:
    file = write_brightness(tmp_path)
    repository = opened(tmp_path)
    model = repository.store.find("brightness")
    file.write_bytes(b"no graph")
    refresh(repository, hasten=True)

    assert repository.store.find("brightness") is model
    assert [refused.version for refused in repository.store.refused] == ["1"]


def test_bad_version_that_is_mended_is_served(tmp_path: Path) -> None:
    file = write_brightness(tmp_path)
    good = file.read_bytes()
    file.write_bytes(b"no graph")
    repository = opened(tmp_path)
    assert versions(repository) == {}
    file.write_bytes(good)
    refresh(repository, hasten=True)

    assert (versions(repository), repository.store.refused) == ({"brightness": [1]}, ())


def test_what_was_bad_at_the_start_is_waited_for_by_readiness(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    repository = Repository(tmp_path, [CPU], started=time.time() + 1)
    repository.open()

    assert [refused.model for refused in repository.store.waited_for] == ["broken"]


def test_removed_version_gives_way_to_the_one_before_and_is_freed(tmp_path: Path) -> None:
    write_brightness(tmp_path)
    write_brightness(tmp_path, version=2)
    repository = opened(tmp_path)
    removed = weakref.ref(repository.store.find("brightness"))
    shutil.rmtree(tmp_path / "brightness/2")
    refresh(repository)
    gc.collect()

    assert versions(repository) == {"brightness": [1]}
    assert removed() is None


def test_who_has_found_a_model_keeps_it(tmp_path: Path) -> None:
    write_brightness(tmp_path)
    repository = opened(tmp_path)
    model = repository.store.find("brightness")
    shutil.rmtree(tmp_path / "brightness")
    refresh(repository)

    assert versions(repository) == {}
    assert model.session.get_inputs()[0].name == "image"


def test_watch_follows_the_folder(tmp_path: Path) -> None:
    write_brightness(tmp_path)
    repository = opened(tmp_path)
    changes: list[int] = []
    repository.on_change = lambda store: changes.append(len(store.all()))

    async def watch_until_changed() -> None:
        watch = asyncio.create_task(repository.watch(0.05))
        write_brightness(tmp_path, version=2)
        async with asyncio.timeout(20):
            while not changes:
                await asyncio.sleep(0.01)
        watch.cancel()

    asyncio.run(watch_until_changed())

    assert changes == [2]
    assert versions(repository) == {"brightness": [1, 2]}


def with_followers(leader: Repository, *followers: Repository, act: Coroutine[None, None, None]) -> None:
    async def run() -> None:
        watches = [asyncio.create_task(follower.watch(0)) for follower in followers]
        try:
            await act
        finally:
            for watch in watches:
                watch.cancel()

    asyncio.run(run())


def test_unload_and_load_are_over_when_every_worker_has_followed(tmp_path: Path) -> None:
    write_brightness(tmp_path)
    write_brightness(tmp_path, "other")
    wishes = Wishes(2)
    leader, follower = opened(tmp_path, wishes), opened(tmp_path, wishes, 1)

    with_followers(leader, follower, act=leader.unload("brightness"))
    for repository in (leader, follower):
        assert versions(repository) == {"other": [1]}
        assert [artifact.name for artifact in repository.store.unloaded] == ["brightness"]
    late = opened(tmp_path, wishes, 1)
    assert versions(late) == {"other": [1]}, "a worker that is replaced heeds the wishes too"

    with_followers(follower, leader, act=follower.load("brightness"))
    for repository in (leader, follower):
        assert versions(repository) == {"brightness": [1], "other": [1]}
        assert repository.store.unloaded == ()


def test_load_takes_what_is_new_at_once(tmp_path: Path) -> None:
    write_brightness(tmp_path)
    repository = opened(tmp_path)
    write_brightness(tmp_path, version=2)
    asyncio.run(repository.load("brightness"))

    assert versions(repository) == {"brightness": [1, 2]}


def test_load_of_a_bad_model_says_why(tmp_path: Path) -> None:
    write_brightness(tmp_path)
    repository = opened(tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"no graph")

    with pytest.raises(InvalidRequest, match="model 'broken' is not all served: version 1: onnxruntime cannot load it"):
        asyncio.run(repository.load("broken"))
    with pytest.raises(NotFound, match="there is no model 'nothing' in the folder"):
        asyncio.run(repository.load("nothing"))
    with pytest.raises(NotFound, match="there is no model 'broken' to unload; there are: brightness"):
        asyncio.run(repository.unload("broken"))


def test_wishes_are_shared_with_processes_that_are_forked_later() -> None:
    wishes = Wishes(2)
    child = os.fork()
    if child == 0:
        wishes.change("a", unload=True)
        wishes.change("b", unload=True)
        wishes.followed(1, wishes.change("a", unload=False))
        os._exit(0)
    os.waitpid(child, 0)

    assert wishes.unloaded() == {"b"}
    assert wishes.number == 3
    assert not wishes.all_have_followed(3)
    wishes.followed(0, 3)
    assert wishes.all_have_followed(3)


def test_folder_that_is_moved_in_later_is_late(tmp_path: Path) -> None:
    """Staged before the service began, as `mv` keeps the file's own times."""
    folder, staged = tmp_path / "artifacts", tmp_path / "staged"
    write_brightness(folder)
    (staged / "1").mkdir(parents=True)
    (staged / "1" / "model.onnx").write_bytes(b"no graph")
    time.sleep(0.02)
    repository = opened(folder)
    time.sleep(0.02)
    staged.rename(folder / "broken")
    refresh(repository, hasten=True)

    assert [(refused.model, refused.late) for refused in repository.store.refused] == [("broken", True)]


def test_load_tries_again_what_was_refused_though_its_file_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_brightness(tmp_path)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    repository = opened(tmp_path)
    assert [refused.reason for refused in repository.store.refused] == ["cannot be read: Input/output error"]
    monkeypatch.undo()
    asyncio.run(repository.load("brightness"))

    assert (versions(repository), repository.store.refused) == ({"brightness": [1]}, ())


def is_measured(model: Model) -> bool:
    return not model.profile.provisional


def test_what_is_opened_is_measured_once_the_service_is_ready_and_what_comes_later_before_it_is_served(
    tmp_path: Path,
) -> None:
    write_brightness(tmp_path)
    repository = Repository(tmp_path, [CPU])
    first = repository.open(measuring=False).find("brightness")
    assert not is_measured(first)
    assert (list(first.profile.seconds), first.profile.merges) == ([1], False)

    async def follow() -> None:
        watch = asyncio.create_task(repository.watch(0.01))
        await asyncio.sleep(0)
        assert repository.store.find("brightness") is first
        while not is_measured(repository.store.find("brightness")):
            await asyncio.sleep(0.001)
        assert sorted(repository.store.find("brightness").profile.seconds) == [1, 4, 16]
        write_brightness(tmp_path, version=2)
        while repository.store.find("brightness").version != 2:
            await asyncio.sleep(0.001)
        assert is_measured(repository.store.find("brightness"))
        watch.cancel()

    asyncio.run(asyncio.wait_for(follow(), 20))


SHORT_OF_MEMORY = """
import asyncio, resource
from pathlib import Path
from app.repository import Repository
from app.runtime import CPU

repository = Repository(Path({folder!r}), [CPU])
repository.open()
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 20_000_000, resource.RLIM_INFINITY))
Path({hidden!r}).rename({shown!r})
for _ in range(3):
    asyncio.run(repository.refresh())
print([(refused.model, refused.reason) for refused in repository.store.refused], sorted(repository.store.models))
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
asyncio.run(repository.refresh())
print(repository.store.refused, sorted(repository.store.models))
"""


def test_model_for_which_there_was_no_memory_is_tried_again(tmp_path: Path) -> None:
    """Though its file is the same; the others go on meanwhile."""
    folder = tmp_path / "artifacts"
    write_brightness(folder)
    write_large(tmp_path / "large.onnx", megabytes=40)
    code = SHORT_OF_MEMORY.format(
        folder=str(folder), hidden=str(tmp_path / "large.onnx"), shown=str(folder / "large.onnx")
    )
    short, after = run_python(code).splitlines()[-2:]

    assert short == "[('large', 'there is no memory to load it')] ['brightness']"
    assert after == "() ['brightness', 'large']"


def refuse(path: Path) -> bytes:
    """As a disk that fails."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_wish_that_a_worker_does_not_follow_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.repository.FOLLOW_SECONDS", 0.05)
    write_brightness(tmp_path)
    repository = opened(tmp_path, Wishes(2))

    with pytest.raises(NotReady, match="not every worker has followed within"):
        asyncio.run(repository.unload("brightness"))


def test_what_is_served_and_refused_at_the_start_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_brightness(tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    caplog.set_level("INFO", "percept")
    wishes = Wishes(2)
    for slot in range(2):
        opened(tmp_path, wishes, slot)

    assert [message.split(":")[0] for message in caplog.messages] == [
        "brightness version 1 is served",
        "broken version 1 is refused",
    ]


def test_other_files_beside_it_do_not_make_a_bad_one_late(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    (folder / "broken.onnx").write_bytes(b"no graph")
    started = time.time() + 0.02
    time.sleep(0.04)
    (folder / "notes.txt").write_text("changes the folder")
    (tmp_path / "elsewhere").write_text("changes what it lies in")
    repository = Repository(folder, [CPU], started=started)
    repository.open()

    assert [refused.late for refused in repository.store.refused] == [False]
