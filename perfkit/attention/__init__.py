"""Attention: one signature, many providers; see ``perfkit.attention.sdpa``."""
