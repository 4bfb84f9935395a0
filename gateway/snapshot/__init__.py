"""What this process currently believes: keys, prices, providers; immutable, swapped whole."""
