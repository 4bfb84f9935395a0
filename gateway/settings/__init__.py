"""What was configured: read once, frozen, passed down as values."""
