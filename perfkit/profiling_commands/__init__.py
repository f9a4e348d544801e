"""The commands that make, read and explain profiles, a module each."""
