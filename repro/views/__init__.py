"""What is shown: tables on a terminal, plain lines in a pipe, pictures."""
