"""Slurm as an engine: text out and text in are pure, one class runs commands."""
