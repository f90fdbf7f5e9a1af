"""Garam: a service that keeps Korean search fresh."""
