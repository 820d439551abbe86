"""PraisonAI."""
