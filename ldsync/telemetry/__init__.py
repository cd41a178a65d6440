"""What the program tells the outside: logs, metrics, health."""
