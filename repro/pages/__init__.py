"""What each page of `repro ui` shows, as plain values: the page, `/api` and the notebook are fronts of the same."""
