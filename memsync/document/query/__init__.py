"""Filters: parsing them, and matching a document against them."""
