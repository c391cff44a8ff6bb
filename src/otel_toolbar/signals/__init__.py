"""The emitting shore: one file or folder a subject. It writes OpenTelemetry signals, nothing else."""
