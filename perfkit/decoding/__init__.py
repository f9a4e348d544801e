"""Decoding at the speed of memory: fused weights, kernels for one to a few rows, a step in a graph."""
