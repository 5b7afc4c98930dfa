"""Exported models at work on photos: what they are given, in which order, and what they answer."""
