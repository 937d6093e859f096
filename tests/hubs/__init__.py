"""What holds of every adapter of the port ``Hub``, whatever it talks to."""
