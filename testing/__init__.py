"""For tests of agents: a real Temporal server, a worker in the test itself, decisions, and skipped time."""
