"""What vendors hand out on request: ChatGPT's and Claude's exports."""
