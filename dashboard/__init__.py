"""The dashboard: where the money goes, how fast each provider is, and how often it fails over.

It only reads, as a role that can do nothing else, and knows of the gateway nothing but its tables.
Views ask `source` for frames, `queries` shapes them, `charts` and `pieces` draw them.
"""
