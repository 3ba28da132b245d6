"""What tests share: factories with valid defaults, and helpers that speak real HTTP."""
