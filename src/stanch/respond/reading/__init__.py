"""Readings that several actions take again right before they act."""
