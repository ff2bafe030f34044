#!/bin/sh
# An input comes in as data: the environment variable INPUT_NAME. No shell ever reads it as code.
printf 'Hello, %s!\n' "$INPUT_NAME"
printf 'I am %s, run %s, alone on a host that calls itself %s.\n' "$SALLYPORT_OP" "$SALLYPORT_RUN" "$(uname -n)"
