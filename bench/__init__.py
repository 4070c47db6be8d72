"""Benchmarks: this daemon beside os-brick and beside the least that the kernel asks for (`make bench`)."""
