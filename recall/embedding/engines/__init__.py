"""Engines that run a model, and what a first start derives for them."""
