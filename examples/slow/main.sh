#!/bin/sh
# Progress goes over the control channel: a JSON line on descriptor 3. Output goes to stdout as usual.
set -eu

i=0
while [ "$i" -lt "$INPUT_COUNT" ]; do
  i=$((i + 1))
  printf '{"progress": "step %d of %d", "percent": %d}\n' "$i" "$INPUT_COUNT" $((100 * i / INPUT_COUNT)) >&3
  printf 'step %d of %d\n' "$i" "$INPUT_COUNT"
  [ "$i" -eq "$INPUT_COUNT" ] || sleep "$INPUT_PAUSE"
done
echo done
