"""Keep traces and find them."""
