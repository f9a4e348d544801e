"""Decoding at the speed of memory: fused weights, kernels for a few rows, a step in a graph."""
