"""What is remembered: settled, spooled before the answer ends, shipped to Postgres afterwards.

Nothing here is awaited by a request: appending is one synchronous ``write``, shipping is a task
of its own.
"""
