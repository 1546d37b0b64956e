"""The parts of a breakdown: who uses which value, what things are called, their numbers, and how it is written out."""
