"""The toolbar's own pages, its JSON, and the tag in the app's pages."""
