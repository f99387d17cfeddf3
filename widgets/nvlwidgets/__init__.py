"""Views of allocation and usage for notebooks."""
