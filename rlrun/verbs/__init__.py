"""One file a verb of the command line: its help and its `main`, which returns the exit code."""
