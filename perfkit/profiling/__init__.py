"""Where the time goes: kernel tables from profiles of several tools, and what moved between two."""
