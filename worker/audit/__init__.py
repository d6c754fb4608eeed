"""What looks at results that exist: reruns and verdicts, golden configs, drifted defaults, gc, rebuild, doctor."""
