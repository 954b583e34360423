"""The processor is named with the instructions that onnxruntime profits from."""

from benchmarks.machine import processor


def test_processor_of_the_first_core() -> None:
    first = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx2 avx512f\n"
    cpuinfo = f"{first}\nprocessor\t: 1\nmodel name\t: Another\n"

    assert processor(cpuinfo) == "Some CPU @ 2 GHz (AVX2, AVX-512)"
