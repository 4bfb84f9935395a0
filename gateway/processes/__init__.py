"""The processes of one installation: who starts whom, and how each of them ends."""
