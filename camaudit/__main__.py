"""`python -m camaudit`."""

from camaudit.cli import main

if __name__ == "__main__":
    main()
