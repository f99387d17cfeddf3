"""Forms of reservations."""
