"""Read and keep what a runbook asks for, before anything is done."""
