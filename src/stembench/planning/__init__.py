"""What a suite will need: time, memory, disk."""
