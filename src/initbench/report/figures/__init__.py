"""One module a family of figures; each function: tables in, a matplotlib Figure out."""
