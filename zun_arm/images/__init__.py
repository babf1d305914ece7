"""Userlands on disk: recipes, archives, and what their ELF files are."""
