"""Many cells: planned in groups, each group in a process of its own, none lost."""
