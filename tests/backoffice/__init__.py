"""The command, the embedded servers and the doctor."""
