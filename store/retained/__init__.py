"""What is kept for a while only: lines of the history, what devices have left behind, patches nobody uses."""
