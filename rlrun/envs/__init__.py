"""Environments: every backend is normalised to one `Step`, so no algorithm knows which it is."""
