"""The base model: a vocabulary, an encoder that reads it, a head that writes it, built once and cached by recipe."""
