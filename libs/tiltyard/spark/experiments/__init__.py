"""Runs and experiments as DataFrames."""
