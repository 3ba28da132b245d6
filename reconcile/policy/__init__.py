"""Pure decisions: frozen values in, a decision out. No clock, no IO, no logging, stdlib only."""
