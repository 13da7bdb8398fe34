"""What machines, containers, pods and exporters answer, and what it means: parsers only."""
