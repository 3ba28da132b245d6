"""The subcommands of `trueup`: options in, one call, an answer a person or a script can read."""
