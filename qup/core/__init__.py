"""What every other package may stand on; it imports none of them."""
