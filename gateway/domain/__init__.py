"""The words everybody shares: caller, outcome, records, errors, callables between rooms."""
