"""The regression gate: fresh runs, stored baselines, and the session that holds them together."""
