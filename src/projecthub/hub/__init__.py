"""The rules: who may do what, and what happens then. One file a noun."""
