"""What a runbook can have read and kept before anything is done."""
