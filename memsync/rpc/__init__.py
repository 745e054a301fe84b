"""Calls between peers: what travels, who runs it, and on which roads it goes."""
