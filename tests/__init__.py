"""The tests; a regular package, because an installed one of this name would shadow a plain directory."""
