"""What `rlrun check` finds out: a network's layers, a run's plan, its speed, what is doubtful."""
