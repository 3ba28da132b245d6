"""What can be seen from outside: logs, metrics, traces, reports; and what must not be."""
