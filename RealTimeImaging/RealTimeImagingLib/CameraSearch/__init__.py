"""Which cameras there are and what they offer: asked by a process of its own, as a driver may hang."""
