"""How a sweep's jobs are spread over processes, machines and GPUs; nothing in here moves a number."""
