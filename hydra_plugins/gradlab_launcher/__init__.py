"""What gradlab adds to Hydra. Every Hydra program of this environment imports it: so it imports nothing heavy."""
