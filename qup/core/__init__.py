"""Foundations that all other packages import; it imports none of them."""
