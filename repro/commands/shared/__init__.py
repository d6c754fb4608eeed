"""What several commands need: kinds of options, completion, what they print alike."""
