"""Tools that maintainers of the course run; learners never need them."""
