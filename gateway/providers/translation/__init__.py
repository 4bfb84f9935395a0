"""Between our chat shape and protocols that say things differently: what all translators share."""
