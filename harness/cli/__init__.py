"""The command line: arguments, one-line errors, signals, and what goes to the terminal."""
