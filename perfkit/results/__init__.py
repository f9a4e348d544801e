"""Results: agreement, verdicts, and the files that keep them."""
