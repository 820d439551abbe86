"""ChatKit, self-hosted."""
