"""What each endpoint answers: one function for every method, from a request and the contents to an answer or a Refusal."""
