"""What a worker shows and tells while runs go on: its terminal, MongoDB, Prometheus."""
