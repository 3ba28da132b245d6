"""Relay, queues, jobs and schedule, on real Valkey."""
