"""Texts: normalised in one way (`normalise`), cut into words in one way (`words`)."""
