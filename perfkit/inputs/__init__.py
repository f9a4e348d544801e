"""What goes into a measurement: models and prompts."""
