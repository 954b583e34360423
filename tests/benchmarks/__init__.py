"""Tests of the pure parts of the benchmarks; no server is started."""
