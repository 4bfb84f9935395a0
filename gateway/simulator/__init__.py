"""Providers that live on this machine, for first starts, tests and benchmarks.

The room imports nothing of ours, so that it cannot share our mistakes: it was written from the
providers' published wire formats, not from our adapters. One wire protocol is one value of
`wire.WireProtocol` (`openai.py`, `anthropic.py`, `gemini.py`, `bedrock.py`); how an answer goes
wrong is `script.py` (what may happen) and `playback.py` (how it is done to the bytes); what was
received stands in `ledger.py`. Where each protocol is spoken stands in `ways.py`.
"""
