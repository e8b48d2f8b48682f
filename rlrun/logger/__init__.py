"""Where metrics go. A logger is one file and one YAML; a failing one never stops a run."""
