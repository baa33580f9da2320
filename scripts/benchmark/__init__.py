"""The benchmarks behind `scripts/bench`, on the standard library of Python alone."""
