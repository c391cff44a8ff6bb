"""A trace as bytes of some format."""
