"""``learnloop listen``: the one consumer of requests to retrain."""
