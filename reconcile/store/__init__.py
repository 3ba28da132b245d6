"""All SQL. Functions take a Session and never commit: the entry point owns the transaction."""
