"""`python -m llmrouter`."""

from llmrouter.cli import main

if __name__ == "__main__":
    main()
