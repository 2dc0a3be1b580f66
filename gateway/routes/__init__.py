"""What the gateway serves, one file a subject."""
