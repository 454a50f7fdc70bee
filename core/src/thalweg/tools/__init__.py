"""The command line, ``thalweg``: one module per subcommand. May import everything; nothing imports it."""
