"""Asks for perfkit's plugin: its markers, options and fixtures."""

pytest_plugins = ["perfkit.pytest_plugin"]
