"""Tests of the doors that visit the database once."""
