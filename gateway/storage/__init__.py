"""I/O towards PostgreSQL: the only room that writes SQL, and where the embedded server is run."""
