"""The processor is named with the instructions that onnxruntime profits from."""

from benchmarks.machine import processor, processor_time


def test_processor_of_the_first_core() -> None:
    first = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx2 avx512f\n"
    cpuinfo = f"{first}\nprocessor\t: 1\nmodel name\t: Another\n"

    assert processor(cpuinfo) == "Some CPU @ 2 GHz (AVX2, AVX-512)"


def test_waiting_is_idle_and_what_the_hypervisor_took_is_not() -> None:
    #             user nice system idle iowait irq softirq steal guest
    assert processor_time("cpu  10 1 5 70 8 2 1 3 99 99\ncpu0 1 1 1 1 1 1 1 1") == (22, 100)
