"""The command line: calls everything, and nothing calls it."""


def main() -> None:
    """Run the command line, see `app.main`."""
    from stembench.cli import app

    app.main()
