"""The words everybody shares: caller, outcome, records, errors, and the callables passed between rooms."""
