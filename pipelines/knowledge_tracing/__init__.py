"""Knowledge tracing: the probability that a learner answers the next item of a skill correctly."""
