"""What onnxruntime does without a server: batches of rows in as many threads as asked for, each with its own session.

.venv/bin/python -m benchmarks.in_process --threads 2 --rows 256 --seconds 4
"""

import argparse
import threading
import time

from benchmarks.cases import Rows, open_session, rows


def rows_per_second(threads: int, batch: Rows, seconds: float) -> float:
    """Each session runs one batch first that is not counted."""
    sessions = [open_session() for _ in range(threads)]
    done = [0] * threads
    for session in sessions:
        session.run(["probabilities"], {"image": batch})
    begin = time.perf_counter()

    def work(number: int) -> None:
        while time.perf_counter() - begin < seconds:
            sessions[number].run(["probabilities"], {"image": batch})
            done[number] += len(batch)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    print(f"{rows_per_second(options.threads, rows(options.rows), options.seconds):.1f}")


if __name__ == "__main__":
    main()
