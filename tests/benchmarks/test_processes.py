"""The process table is read right, and a tree includes what ran away from its parent."""

import os

from benchmarks.processes import Process, parse_stat, pss_megabytes, table, tree


def test_a_command_may_contain_anything() -> None:
    fields = " ".join(str(number) for number in range(4, 53))

    assert parse_stat(f"17 (a) (b c)) S {fields}") == Process(pid=17, parent=4, session=6, started=22)


def test_tree_has_descendants_and_orphans_of_the_session() -> None:
    root, child, grandchild = Process(10, 1, 10, 0), Process(11, 10, 10, 0), Process(12, 11, 12, 0)
    orphan, stranger = Process(13, 1, 10, 0), Process(14, 1, 14, 0)

    assert tree(10, [stranger, orphan, grandchild, child, root]) == [orphan, grandchild, child, root]


def test_this_process_is_in_the_table_and_holds_memory() -> None:
    assert os.getpid() in {process.pid for process in table()}
    assert pss_megabytes(os.getpid()) > 1
