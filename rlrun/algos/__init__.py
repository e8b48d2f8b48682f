"""One file an algorithm: its typed config, what it does to act, and what it does to learn."""
