"""What is killed, lost, doubled or late."""
