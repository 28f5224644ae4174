"""Pictures of the panel in every state, for the documentation: python3 run.py docs."""
