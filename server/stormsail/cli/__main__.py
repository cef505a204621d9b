"""`python -m stormsail.cli`: the same as the command `stormsail`."""

from . import main

if __name__ == "__main__":
    main()
