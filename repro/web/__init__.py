"""`repro ui`: the pages of `repro.pages` over HTTP. Needs the extra `ui`."""
