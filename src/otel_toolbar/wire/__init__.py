"""Pure codecs between formats of others and the model, both ways."""
