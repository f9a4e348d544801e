"""What is measured on: the machine's identity, its ceilings and its telemetry."""
