"""OpenAI: its Conversations API, and the sessions of its Agents SDK."""
