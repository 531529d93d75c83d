"""What every system does, written once."""
