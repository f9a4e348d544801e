"""Measuring one cell: clock, warm-up, rounds, memory, agreement, and the verdict."""
