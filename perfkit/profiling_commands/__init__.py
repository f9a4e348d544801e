"""The commands that take profiles, read them, and set two side by side."""
