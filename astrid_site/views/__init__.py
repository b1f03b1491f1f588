"""Pages that need several apps."""
