from whence.cli.app import main

main()
