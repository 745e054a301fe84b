"""Pools of worker processes of the frameworks that programs use, each started for real."""
