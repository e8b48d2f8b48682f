"""What makes learning faster from outside: no algorithm knows of it."""
