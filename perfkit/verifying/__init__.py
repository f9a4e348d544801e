"""``perfkit verify``: every statistic of a result file, once more from its raw samples."""
