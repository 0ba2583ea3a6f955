"""Letters to people: how they are sent, and where to."""
