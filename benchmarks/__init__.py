"""How fast LearnLoop is, beside the same work written by hand with the same libraries."""
