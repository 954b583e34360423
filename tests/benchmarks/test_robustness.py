"""Who holds a connection is found in the kernel's tables; model folders change by renames."""

import os
import socket
from pathlib import Path

import onnxruntime as ort

from app.card import read_card
from benchmarks.model_folders import add_version, remove_version, renamed
from benchmarks.robustness import Established, held_sockets, kill_bars, parse_tcp, server_side
from benchmarks.wrk import Load

TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 20 4 30 10 -1
"""


def test_line_of_the_kernel() -> None:
    assert parse_tcp(TCP) == [Established(local_port=8_000, remote_port=50_000, inode=4_711)]


def test_this_process_holds_the_other_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, listener.accept()[0]:
            inode = server_side(client.getsockname()[1], port)

            assert inode is not None
            assert inode in held_sockets([os.getpid()])[os.getpid()]


def test_requests_in_flight_on_the_killed_are_allowed_for() -> None:
    load = Load(requests_per_second=100, p50=1, p99=1, p999=1, requests=1_000, errors=32)

    assert [bar[3] for bar in kill_bars(2, 16, load, [0.5, 1.5])] == [True, True]
    assert [bar[3] for bar in kill_bars(1, 16, load, [2.5])] == [False, False]


def test_versions_come_and_go(tmp_path: Path) -> None:
    add_version(tmp_path, "some-model", 1, b"one")
    add_version(tmp_path, "some-model", 2, b"two")
    remove_version(tmp_path, "some-model", 1)

    assert [path.name for path in (tmp_path / "some-model").iterdir()] == ["2"]
    assert (tmp_path / "some-model" / "2" / "model.onnx").read_bytes() == b"two"


def test_a_copy_has_another_name_and_stands_for_no_subject() -> None:
    card = read_card(ort.InferenceSession(renamed("copy-7")).get_modelmeta().custom_metadata_map)

    assert card is not None and (card.name, card.subject) == ("copy-7", None)
