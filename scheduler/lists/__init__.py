"""What people look at, and choose from: lists of runs in any order, why runs wait, figures, what users do to runs."""
