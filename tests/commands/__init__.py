"""Commands that live in modules of their own."""
