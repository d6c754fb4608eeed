"""What several commands need: completion, kinds of options, changes of runs, files of variations."""
