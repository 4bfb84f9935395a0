"""I/O towards providers: sends attempts, relays streams, and learns of the providers' health.

``egress`` decides which addresses may be reached, ``resolver`` turns names into addresses, and
``transport`` sends ``httpx`` requests over connections that both have approved.
"""
