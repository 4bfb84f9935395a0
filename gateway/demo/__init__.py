"""Traffic that never was: a made-up organisation and its requests, stored as real ones are."""
