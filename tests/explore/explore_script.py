"""Run a command of Whence: python explore_script.py WORDS ..."""

if __name__ == "__main__":
    from whence.cli.app import main

    main()
