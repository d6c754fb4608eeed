"""How the fronts show things: tables, plots, lines."""
