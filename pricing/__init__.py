"""The catalogue of offers and what they cost.

Pure: no I/O beyond reading its own tables, no clock, no chance; imports nothing else of ours.
Money is `Decimal` from the file to the bill, and unknown is `None`, never 0.
"""
