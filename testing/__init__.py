"""For tests of agents: a real Temporal server, an in-process worker, decisions, and time skipping."""
