"""Validators: who may veto a synonym candidate. Every one has to prove itself on known pairs first."""
