"""Where project servers run: the port, the calls that every engine shares, and the engines."""
