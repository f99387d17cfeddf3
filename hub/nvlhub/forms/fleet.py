"""Forms of the fleet as one picture."""
