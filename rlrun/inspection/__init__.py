"""What `rlrun check` finds out: a network's layers, its plan, its speed, and doubtful choices."""
