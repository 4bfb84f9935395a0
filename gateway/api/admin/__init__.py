"""The admin listener: keys and health, on loopback, behind the owner token."""
