"""Forms of what GPUs did."""
