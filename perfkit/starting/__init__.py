"""Cold and warm starts: from a process's start to its first token, and what that costs."""
