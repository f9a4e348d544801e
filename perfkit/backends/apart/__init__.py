"""Engines in a process of their own: how it is started, spoken to, and ended."""
