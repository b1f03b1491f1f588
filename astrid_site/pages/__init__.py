"""What the pages that need several apps show."""
