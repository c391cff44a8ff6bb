"""The doors into a store."""
