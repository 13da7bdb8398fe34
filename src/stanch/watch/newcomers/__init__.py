"""Whether anybody new is let in: what an open session cannot notice."""
