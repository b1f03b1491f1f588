"""Every figure of the image engine, on scenes whose truth is known, beside its peers."""
