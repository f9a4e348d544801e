"""Reporting: tables, CSV and pictures, drawn from result documents and from nothing else."""
